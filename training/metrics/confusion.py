"""Scores from one confusion matrix: rows truth, columns prediction."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from perception.types import VOID, LabelMap

Confusion = npt.NDArray[np.int64]  # (C, C)


def confusion_matrix(truth: LabelMap, prediction: LabelMap, classes: int) -> Confusion:
    """(C, C) pixel counts of two label maps of one shape.

    Void truth is ignored.

    Raises:
        ValueError: the shapes differ, or a label is unknown: ``classes`` or more, void predictions included.
    """
    if truth.shape != prediction.shape:
        raise ValueError(f"Truth is {truth.shape}, prediction {prediction.shape}; they must agree.")
    known = truth != VOID
    rows, columns = truth[known].astype(np.int64), prediction[known].astype(np.int64)
    largest = int(max(rows.max(), columns.max())) if rows.size else 0
    if largest >= classes:
        raise ValueError(f"A label is {largest}; there are {classes} classes.")
    return np.bincount(rows * classes + columns, minlength=classes * classes).reshape(classes, classes)


def iou_per_class(confusion: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """(C,) intersection over union, NaN for classes that are neither in the truth nor predicted."""
    hit = np.diag(confusion).astype(np.float64)
    union = confusion.sum(axis=0) + confusion.sum(axis=1) - hit
    iou: npt.NDArray[np.float64] = np.divide(hit, union, out=np.full(len(hit), np.nan), where=union > 0)
    return iou


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
    both = confusion.sum(axis=0) + confusion.sum(axis=1)
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
