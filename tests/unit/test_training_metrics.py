"""Scores against counting by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from training.metrics import (
    accuracy_per_class,
    confusion_matrix,
    dice_from_iou,
    dice_per_class,
    frequency_weighted_iou,
    iou_from_dice,
    iou_per_class,
    mean_accuracy,
    mean_iou,
    pixel_accuracy,
)

VOID = 255
CLASSES = 4
SHAPE = (5, 6)
truths = arrays.arrays(np.uint8, SHAPE, elements=st.sampled_from([*range(CLASSES), VOID]))
predictions = arrays.arrays(np.uint8, SHAPE, elements=st.sampled_from([*range(CLASSES), VOID]))


@given(truths, predictions)
def test_the_matrix_counts_every_known_pixel_once(truth: np.ndarray, prediction: np.ndarray) -> None:
    found = confusion_matrix(truth, prediction, CLASSES)
    for i in range(CLASSES):
        for j in range(CLASSES):
            assert found[i, j] == ((truth == i) & (prediction == j)).sum()
        assert found[i, CLASSES] == ((truth == i) & (prediction == VOID)).sum()
    assert found.sum() == (truth != VOID).sum()


@given(truths, predictions)
def test_scores_are_those_counted_pixel_by_pixel(truth: np.ndarray, prediction: np.ndarray) -> None:
    confusion = confusion_matrix(truth, prediction, CLASSES)
    known = truth != VOID
    expected = []
    for c in range(CLASSES):
        union = (((truth == c) | (prediction == c)) & known).sum()
        hit = ((truth == c) & (prediction == c)).sum()
        expected.append(hit / union if union else math.nan)
    np.testing.assert_allclose(iou_per_class(confusion), expected)
    present = [expected[c] for c in range(CLASSES) if (truth == c).any()]
    right = (truth == prediction)[known]
    if present:
        assert mean_iou(confusion) == pytest.approx(np.mean(present))
        assert pixel_accuracy(confusion) == pytest.approx(right.mean())
    else:
        assert math.isnan(mean_iou(confusion))
        assert math.isnan(pixel_accuracy(confusion))


@given(truths, predictions, truths, predictions)
def test_matrices_of_images_add_up(t1: np.ndarray, p1: np.ndarray, t2: np.ndarray, p2: np.ndarray) -> None:
    both = confusion_matrix(np.concatenate([t1, t2]), np.concatenate([p1, p2]), CLASSES)
    assert (both == confusion_matrix(t1, p1, CLASSES) + confusion_matrix(t2, p2, CLASSES)).all()


@pytest.mark.parametrize("unknown", [CLASSES, 254])
def test_a_prediction_that_is_no_class_is_refused(unknown: int) -> None:
    with pytest.raises(ValueError, match=f"{unknown}; there are {CLASSES} classes"):
        confusion_matrix(np.zeros((2, 2), np.uint8), np.full((2, 2), unknown, np.uint8), CLASSES)


def test_where_truth_is_void_any_prediction_goes() -> None:
    truth = np.full((2, 2), VOID, np.uint8)
    assert not confusion_matrix(truth, truth, CLASSES).any()


def test_maps_of_two_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="must agree"):
        confusion_matrix(np.zeros((2, 2), np.uint8), np.zeros((2, 3), np.uint8), CLASSES)


@given(truths, predictions)
def test_dice_and_iou_are_one_another_s_transform(truth: np.ndarray, prediction: np.ndarray) -> None:
    confusion = confusion_matrix(truth, prediction, CLASSES)
    iou, dice = iou_per_class(confusion), dice_per_class(confusion)
    known = truth != VOID
    for c in range(CLASSES):
        both = ((truth == c) & known).sum() + ((prediction == c) & known).sum()
        expected = 2 * ((truth == c) & (prediction == c)).sum() / both if both else math.nan
        assert dice[c] == pytest.approx(expected, nan_ok=True)
    np.testing.assert_allclose(dice_from_iou(iou), dice)
    np.testing.assert_allclose(iou_from_dice(dice), iou)
    assert (np.nan_to_num(dice) >= np.nan_to_num(iou)).all()


@given(truths, predictions)
def test_accuracies_and_the_weighted_iou_are_those_counted_by_hand(truth: np.ndarray, prediction: np.ndarray) -> None:
    confusion = confusion_matrix(truth, prediction, CLASSES)
    present = [c for c in range(CLASSES) if (truth == c).any()]
    recalls = [float((prediction[truth == c] == c).mean()) for c in present]
    assert accuracy_per_class(confusion)[present] == pytest.approx(recalls)
    shares = [float((truth == c).sum() / (truth != VOID).sum()) for c in present]
    if present:
        assert mean_accuracy(confusion) == pytest.approx(np.mean(recalls))
        assert frequency_weighted_iou(confusion) == pytest.approx(np.dot(shares, iou_per_class(confusion)[present]))
    else:
        assert math.isnan(mean_accuracy(confusion))
        assert math.isnan(frequency_weighted_iou(confusion))
