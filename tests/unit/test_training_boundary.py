"""The boundary F-score on maps whose answer is known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from training.metrics import BoundaryTally

VOID = 255
SIZE = 100
DIAGONAL = math.hypot(SIZE, SIZE)


def halves(column: int) -> np.ndarray:
    """Class 0 left of the column, class 1 from there on."""
    labels = np.zeros((SIZE, SIZE), np.uint8)
    labels[:, column:] = 1
    return labels


def score(truth: np.ndarray, prediction: np.ndarray, pixels: float = 3.0) -> np.ndarray:
    tally = BoundaryTally(3, tolerance=pixels / DIAGONAL)
    tally.add(truth, prediction)
    return tally.per_class()


def test_a_perfect_answer_scores_one_and_absent_classes_nothing() -> None:
    found = score(halves(50), halves(50))
    assert found[:2] == pytest.approx([1, 1])
    assert math.isnan(found[2])


@pytest.mark.parametrize(("shift", "expected"), [(1, 1), (3, 1), (4, 0), (20, 0)])
def test_a_shifted_boundary_counts_within_the_tolerance(shift: int, expected: float) -> None:
    assert score(halves(50), halves(50 + shift))[:2] == pytest.approx([expected] * 2)
    assert score(halves(50), halves(50 - shift))[:2] == pytest.approx([expected] * 2)


def test_precision_and_recall_are_shares_of_the_boundary() -> None:
    """Half of the boundary is right and half is far off: each of the two is one half, and so is F."""
    prediction = halves(50)
    prediction[SIZE // 2 :, :70] = 0
    # the jump adds 20 boundary pixels to the prediction, of which some lie near the truth's
    rows, extra = SIZE // 2, 20
    found = score(halves(50), prediction, pixels=0.5)[0]
    recall = rows / SIZE
    precision = rows / (2 * rows + extra)
    assert found == pytest.approx(2 * precision * recall / (precision + recall), abs=0.02)


def test_missing_the_class_scores_zero_and_one_too_many_is_not_counted() -> None:
    everything = np.zeros((SIZE, SIZE), np.uint8)
    assert score(halves(50), everything)[:2] == pytest.approx([0, 0])
    assert np.isnan(score(everything, halves(50))).all()


def test_void_neither_has_boundaries_nor_sees_predictions() -> None:
    truth = halves(50)
    truth[:, 40:60] = VOID
    assert np.isnan(score(truth, halves(10))).all()
    truth = halves(50)
    truth[:30] = VOID
    wild = halves(50)
    wild[:30] = np.random.default_rng(0).integers(0, 2, (30, SIZE))
    assert score(truth, wild)[:2] == pytest.approx([1, 1])


def test_the_score_is_the_mean_over_the_pictures_that_show_a_boundary() -> None:
    tally = BoundaryTally(2, tolerance=3 / DIAGONAL)
    tally.add(halves(50), halves(50))
    tally.add(halves(50), halves(80))
    tally.add(np.zeros((SIZE, SIZE), np.uint8), halves(50))
    assert tally.per_class() == pytest.approx([0.5, 0.5])
    assert tally.mean() == pytest.approx(0.5)


def test_nothing_seen_is_not_a_number() -> None:
    assert math.isnan(BoundaryTally(2).mean())
