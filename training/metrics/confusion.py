"""Scores from one confusion matrix: rows truth, columns prediction, the last of which is void.

A pixel for which a model names no class is missed by its class and claimed by none, as the Cityscapes evaluation
counts it: else a model could raise its score by its silence.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from perception.types import VOID, LabelMap

Confusion = npt.NDArray[np.int64]  # (C, C + 1)


def confusion_matrix(truth: LabelMap, prediction: LabelMap, classes: int) -> Confusion:
    """(C, C + 1) pixel counts of two label maps of one shape: how often class i was answered by j, C for void.

    Void truth is ignored.

    Raises:
        ValueError: the shapes differ, or a label is unknown: ``classes`` or more, and not void.
    """
    if truth.shape != prediction.shape:
        raise ValueError(f"Truth is {truth.shape}, prediction {prediction.shape}; they must agree.")
    known = truth != VOID
    rows, columns = truth[known].astype(np.int64), prediction[known].astype(np.int64)
    for labels in (rows, columns[columns != VOID]):
        if labels.size and labels.max() >= classes:
            raise ValueError(f"A label is {labels.max()}; there are {classes} classes.")
    places = classes + 1
    cells = rows * places + np.where(columns == VOID, classes, columns)
    return np.bincount(cells, minlength=classes * places).reshape(classes, places)


def empty_confusion(classes: int) -> Confusion:
    """The matrix of no picture, to add others to."""
    return np.zeros((classes, classes + 1), np.int64)


def iou_per_class(confusion: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """(C,) intersection over union, NaN for classes that are neither in the truth nor predicted."""
    hit = np.diag(confusion).astype(np.float64)
    union = _predicted(confusion) + confusion.sum(axis=1) - hit
    iou: npt.NDArray[np.float64] = np.divide(hit, union, out=np.full(len(hit), np.nan), where=union > 0)
    return iou


def _predicted(confusion: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """(C,) pixels given to each class."""
    return np.asarray(confusion[:, :-1].sum(axis=0))


def mean_iou(confusion: npt.NDArray[Any]) -> float:
    """Mean IoU over the classes that are present in the truth."""
    present = confusion.sum(axis=1) > 0
    return float(iou_per_class(confusion)[present].mean()) if present.any() else float("nan")


def pixel_accuracy(confusion: npt.NDArray[Any]) -> float:
    """Share of the known pixels whose class is right."""
    return float(np.trace(confusion) / confusion.sum()) if confusion.any() else float("nan")


def dice_per_class(confusion: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """(C,) 2 |A B| / (|A| + |B|), the F1 score; NaN for classes that are neither in the truth nor predicted."""
    hit = np.diag(confusion).astype(np.float64)
    both = _predicted(confusion) + confusion.sum(axis=1)
    dice: npt.NDArray[np.float64] = np.divide(2 * hit, both, out=np.full(len(hit), np.nan), where=both > 0)
    return dice


def dice_from_iou(iou: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """D = 2 J / (1 + J), of each class: the two rank models alike on one class, but not in the mean."""
    return np.asarray(2 * iou / (1 + iou), np.float64)


def iou_from_dice(dice: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """J = D / (2 - D)."""
    return np.asarray(dice / (2 - dice), np.float64)


def accuracy_per_class(confusion: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """(C,) share of a class's pixels that are found (recall); NaN for classes that are not in the truth."""
    hit, truth = np.diag(confusion).astype(np.float64), confusion.sum(axis=1)
    accuracy: npt.NDArray[np.float64] = np.divide(hit, truth, out=np.full(len(hit), np.nan), where=truth > 0)
    return accuracy


def mean_accuracy(confusion: npt.NDArray[Any]) -> float:
    """Mean of the class accuracies over the classes that are present in the truth."""
    present = confusion.sum(axis=1) > 0
    return float(accuracy_per_class(confusion)[present].mean()) if present.any() else float("nan")


def frequency_weighted_iou(confusion: npt.NDArray[Any]) -> float:
    """IoU weighed by how often each class occurs in the truth (Long, Shelhamer, Darrell 2015, section 5)."""
    frequency = confusion.sum(axis=1)
    present = frequency > 0
    if not present.any():
        return float("nan")
    return float((frequency * iou_per_class(confusion))[present].sum() / frequency.sum())
