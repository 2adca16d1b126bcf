"""Targets of the centre head and of the boundary head, made from instance maps."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perception.errors import ConfigError
from training.data.boundaries import BODY, BORDER, WEIGHT, BoundaryTargets, between
from training.data.centres import (
    ACROSS,
    DOWN,
    HEAT,
    HEAT_WEIGHT,
    UNKNOWN,
    WAY_WEIGHT,
    CentreTargets,
    commonest_of_cells,
)

CAR = 13000


def ids_of(height: int = 40, width: int = 60, **boxes: tuple[int, int, int, int]) -> np.ndarray:
    """An instance map with boxes (top, left, bottom, right), numbered from 1; a box called ``unknown`` is that."""
    ids = np.zeros((height, width), np.uint16)
    for number, (name, (top, left, bottom, right)) in enumerate(boxes.items(), 1):
        ids[top:bottom, left:right] = UNKNOWN if name == "unknown" else CAR + number
    return ids


def centres_in(heat: np.ndarray) -> list[list[int]]:
    return np.argwhere(heat == 1).tolist()


def test_every_cell_of_an_object_points_at_its_centre_of_mass() -> None:
    targets = CentreTargets().of(ids_of(a=(4, 10, 12, 30), b=(20, 40, 36, 46)))
    assert targets.shape == (20, 30, 5)
    assert targets.dtype == np.float32
    # Box a: rows 4..11, columns 10..29; the middle at (7.5, 19.5) pixels is (3.5, 9.5) cells.
    rows, columns = np.nonzero(targets[..., WAY_WEIGHT])
    inside_a = (rows < 6).nonzero()[0]
    assert len(inside_a) == 4 * 10
    assert (rows[inside_a] + targets[rows, columns, DOWN][inside_a] == 3.5).all()
    assert (columns[inside_a] + targets[rows, columns, ACROSS][inside_a] == 9.5).all()
    outside = targets[..., WAY_WEIGHT] == 0
    assert not targets[outside][:, [DOWN, ACROSS]].any()
    assert len(centres_in(targets[..., HEAT])) == 2
    assert (targets[..., HEAT_WEIGHT] == 1).all()


def test_a_crop_full_of_objects_teaches_all_of_them() -> None:
    ids = np.full((16, 24), 11_001, np.uint16)
    ids[:, 12:] = 11_002
    targets = CentreTargets(balance=0).of(ids)
    assert (targets[..., WAY_WEIGHT] == 1).all()
    assert targets[3, 0, ACROSS] == pytest.approx(2.5)
    assert targets[3, 11, ACROSS] == pytest.approx(-2.5)


def test_a_cell_that_two_objects_share_learns_of_the_one_with_more_of_it() -> None:
    ids = np.zeros((4, 8), np.uint16)
    ids[:, :3] = CAR + 1
    ids[:, 3:] = CAR + 9
    ids[1, 2:4] = CAR + 1, CAR + 1  # 3 of 4 pixels of the second cell above, 2 of the one below it
    targets = CentreTargets(balance=0, least=1).of(ids)
    aim = np.arange(4) + targets[..., ACROSS]
    assert aim[0, 1] == pytest.approx(aim[0, 0])
    assert aim[1, 1] == pytest.approx(aim[1, 3])  # of equals the larger number
    assert aim[0, 0] < aim[0, 3]


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_the_commonest_object_of_a_cell_is_that_of_a_count(seed: int) -> None:
    random = np.random.default_rng(seed)
    numbers = random.choice([0, 0, 1, 7, 65_536], size=(6, 10)).astype(np.intp)
    found = commonest_of_cells(numbers)
    for row, column in np.ndindex(found.shape):
        values, counts = np.unique(numbers[2 * row : 2 * row + 2, 2 * column : 2 * column + 2], return_counts=True)
        best = max(((n, v) for v, n in zip(values, counts) if v > 0), default=(0, 0))
        assert found[row, column] == best[1]


def test_the_centre_of_a_bent_object_may_lie_outside_of_it() -> None:
    ids = ids_of(a=(4, 4, 36, 56))
    ids[4:30, 12:48] = 0  # a U
    targets = CentreTargets().of(ids)
    (row, column) = centres_in(targets[..., HEAT])[0]
    assert targets[row, column, WAY_WEIGHT] == 0
    ys, xs = np.nonzero(ids)
    assert abs(row - (ys.mean() - 0.5) / 2) <= 0.5
    assert abs(column - (xs.mean() - 0.5) / 2) <= 0.5


def test_the_heat_falls_off_as_a_gaussian_and_overlapping_ones_keep_the_larger() -> None:
    alone = CentreTargets(sigma=2.0).of(ids_of(a=(8, 8, 16, 16)))[..., HEAT]
    (row, column) = centres_in(alone)[0]
    assert alone[row, column + 2] == pytest.approx(np.exp(-0.5), abs=1e-6)
    assert alone[row + 2, column + 2] == pytest.approx(np.exp(-1.0), abs=1e-6)
    both = CentreTargets(sigma=2.0).of(ids_of(a=(8, 8, 16, 16), b=(8, 16, 16, 24)))[..., HEAT]
    other = CentreTargets(sigma=2.0).of(ids_of(z=(0, 0, 0, 0), b=(8, 16, 16, 24)))[..., HEAT]
    assert (both == np.maximum(alone, other)).all()


def test_where_nothing_is_known_nothing_is_asked() -> None:
    targets = CentreTargets().of(ids_of(unknown=(0, 30, 40, 60), a=(10, 10, 20, 20)))
    assert not targets[:, 15:, HEAT_WEIGHT].any()
    assert (targets[:, :15, HEAT_WEIGHT] == 1).all()
    assert not targets[:, 15:, WAY_WEIGHT].any()


def test_of_a_speck_no_answer_is_asked_and_a_thin_pole_is_not_lost() -> None:
    targets = CentreTargets(least=6).of(ids_of(speck=(10, 10, 12, 12), thin=(5, 41, 35, 42)))
    assert len(centres_in(targets[..., HEAT])) == 1
    assert targets[5, 5].tolist()[:2] == [pytest.approx(0, abs=1e-6), 0]
    assert (targets[..., WAY_WEIGHT] > 0).sum() == 16  # column 20, though its pixels are the odd ones


def test_large_objects_do_not_outweigh_small_ones() -> None:
    ids = ids_of(a=(0, 0, 40, 40), b=(0, 50, 4, 54))
    even = CentreTargets(balance=1.0).of(ids)[..., WAY_WEIGHT]
    assert even[:, :20].sum() == pytest.approx(even[:, 25:].sum())
    plain = CentreTargets(balance=0.0).of(ids)[..., WAY_WEIGHT]
    assert set(np.unique(plain)) == {0, 1}


@pytest.mark.parametrize("wrong", [{"sigma": 0.0}, {"least": 0}, {"balance": 2.0}])
def test_settings_that_make_no_targets_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="must"):
        CentreTargets(**wrong)  # type: ignore[arg-type]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_any_map_gives_finite_targets_that_lead_to_their_centre(seed: int) -> None:
    random = np.random.default_rng(seed)
    coarse = random.choice([0, 0, 0, UNKNOWN, CAR + 1, CAR + 2, 18999], (5, 7)).astype(np.uint16)
    ids = coarse.repeat(int(random.integers(1, 9)), axis=0).repeat(int(random.integers(1, 9)), axis=1)
    targets = CentreTargets().of(ids)
    assert targets.shape == (ids.shape[0] // 2, ids.shape[1] // 2, 5)
    assert np.isfinite(targets).all()
    rows, columns = np.nonzero(targets[..., WAY_WEIGHT])
    ends = {
        (round(float(r + targets[r, c, DOWN]), 3), round(float(c + targets[r, c, ACROSS]), 3))
        for r, c in zip(rows, columns)
    }
    assert len(ends) <= len(np.unique(ids))
    assert not (targets[..., WAY_WEIGHT] > targets[..., HEAT_WEIGHT]).any()


def test_a_border_lies_only_between_objects_that_touch() -> None:
    apart = between(ids_of(a=(5, 5, 35, 25), b=(5, 35, 35, 55)))
    assert not apart.any()
    ids = ids_of(a=(5, 5, 35, 30), b=(5, 30, 35, 55))
    touching = between(ids)
    # Of objects of 300..1999 pixels, what lies within 2 of both: two columns on either side, over their whole height.
    inside = np.zeros((40, 60), bool)
    inside[5:35, 28:32] = True
    assert (touching & (ids > 0) == inside).all()
    # Outside of objects, what lies within 3 of both.
    rows, columns = np.nonzero(touching & (ids == 0))
    assert set(rows.tolist()) == {2, 3, 4, 35, 36, 37}
    assert set(columns.tolist()) == set(range(27, 33))


def test_how_far_objects_may_lie_apart_depends_on_their_size() -> None:
    def columns(height: int, width: int, gap: int) -> set[int]:
        ids = np.zeros((height + 10, 2 * width + gap + 10), np.uint16)
        ids[5:-5, 5 : 5 + width] = CAR + 1
        ids[5:-5, 5 + width + gap : -5] = CAR + 2
        return {int(c) - 5 - width for c in np.nonzero(between(ids)[height // 2])[0]}

    assert columns(10, 20, 0) == {-1, 0}  # 200 pixels: next to each other
    assert columns(40, 40, 0) == {-2, -1, 0, 1}  # 1600
    assert columns(50, 50, 0) == {-3, -2, -1, 0, 1, 2}  # 2500
    assert columns(10, 20, 1) == {0}  # the gap itself, which is no object's
    assert columns(50, 50, 4) == {1, 2}
    assert columns(50, 50, 6) == set()


def test_a_body_is_its_object_without_the_border() -> None:
    ids = ids_of(a=(5, 5, 35, 30), b=(5, 30, 35, 55), unknown=(0, 0, 3, 60))
    targets = BoundaryTargets().of(ids)
    assert targets.shape == (20, 30, 3)
    body, border = targets[..., BODY] > 0, targets[..., BORDER] > 0
    cells = np.uint8((ids > 0) & (ids != UNKNOWN)).reshape(20, 2, 30, 2).max(axis=(1, 3)) > 0
    assert (border == between(np.where(ids == UNKNOWN, 0, ids)).reshape(20, 2, 30, 2).any(axis=(1, 3))).all()
    assert (body == (cells & ~border)).all()
    assert not targets[0, :, WEIGHT].any()
    assert targets[3:, :, WEIGHT].all()


def test_a_map_without_objects_has_no_border() -> None:
    assert not BoundaryTargets().of(ids_of())[..., : BORDER + 1].any()
