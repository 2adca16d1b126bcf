"""Objects that touch: which pairs there are, and when a prediction has told them apart."""

from __future__ import annotations

import numpy as np
import pytest

from training.metrics import InstanceTally, InstanceTruth
from training.metrics.touching import touching_pairs

CAR, TRUCK = 13, 14


def row_of(*numbers: int, width: int = 20) -> np.ndarray:
    """Blocks of 20 rows side by side."""
    return np.repeat(np.array(numbers, np.int32), width)[None].repeat(20, axis=0)


def touching(codes: np.ndarray, ids: np.ndarray, classes: list[int] | None = None) -> dict[str, object]:
    labels = np.where(codes > 0, codes // 1000, 0).astype(np.uint8)
    classes = [CAR] * int(ids.max()) if classes is None else classes
    tally = InstanceTally()
    tally.add(InstanceTruth(labels, codes), ids, np.array(classes), np.ones(len(classes)))
    result = tally.score().touching.to_json()
    del result["classes"]
    return result


def test_only_neighbours_of_one_class_are_pairs() -> None:
    codes = row_of(13001, 13002, 14001, 0, 13003)
    assert touching_pairs(codes).tolist() == [[13001, 13002]]
    corner = np.array([[13001, 0], [0, 13002]], np.int32)
    assert touching_pairs(corner).tolist() == touching_pairs(corner[::-1]).tolist() == [[13001, 13002]]
    assert touching_pairs(np.zeros((3, 3), np.int32)).shape == (0, 2)
    assert touching_pairs(np.zeros((1, 1), np.int32)).shape == (0, 2)


def test_a_pair_in_two_objects_is_separated_and_one_in_one_object_is_not() -> None:
    pair = row_of(13001, 13002)
    assert touching(pair, row_of(1, 2)) == {"pairs": 1, "separated": 1.0, "together": 0.0, "met": 1.0}
    assert touching(pair, row_of(1, 1)) == {"pairs": 1, "separated": 0.0, "together": 1.0, "met": 0.0}


@pytest.mark.parametrize(
    ("ids", "classes", "separated", "together"),
    [
        (row_of(1, 0), [CAR], 0.0, 0.0),  # one was missed
        (row_of(1, 2), [CAR, TRUCK], 0.0, 0.0),  # one is of another class
        (row_of(1, 2, 3, 3, width=10), [CAR, CAR, CAR], 0.0, 0.0),  # one is cut to halves: neither has more
        (row_of(1, 1, 1, 2, 2, 2, 2, 2, width=5), [CAR, CAR], 1.0, 0.0),  # the border lies a little off
        (row_of(1, 1, 1, 1, 2, 1, 1, 1, width=5), [CAR, CAR], 0.0, 1.0),  # a piece of its own does not help
    ],
)
def test_a_pair_is_separated_only_by_two_objects_that_hold_most_of_each(
    ids: np.ndarray, classes: list[int], separated: float, together: float
) -> None:
    found = touching(row_of(13001, 13002), ids, classes)
    assert (found["separated"], found["together"]) == (separated, together)


def test_two_objects_of_too_little_overlap_separate_but_do_not_meet() -> None:
    ids = row_of(1, 2)
    ids = np.concatenate([ids, np.where(ids > 0, ids, 0), ids])  # three times too tall
    codes = np.concatenate([np.zeros((20, 40), np.int32), row_of(13001, 13002), np.zeros((20, 40), np.int32)])
    assert touching(codes, ids) == {"pairs": 1, "separated": 1.0, "together": 0.0, "met": 0.0}


def test_pairs_with_an_object_too_small_to_count_are_left_out() -> None:
    small = row_of(13001, 13002)
    small[4:, 20:] = 0  # 80 pixels are left
    assert touching(small, row_of(1, 2)) == {"pairs": 0, "separated": None, "together": None, "met": None}
