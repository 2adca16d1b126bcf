"""How well boundaries are met: the F-score of each class's contour (Csurka, Larlus, Perronnin 2013, section 4)."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from perception.types import VOID, LabelMap

TOLERANCE = 0.0075  # of the picture's diagonal, the paper's choice: 4.5 pixels at 480x360


class BoundaryTally:
    """Collects the boundary F-score picture by picture.

    A pixel lies on the boundary of its class if one of its four neighbours belongs to another class. Precision
    is the share of predicted boundary pixels that have one of the truth within the tolerance, recall the
    converse, F their harmonic mean. A class's score is its mean over the pictures whose truth shows a
    boundary of it. Void is no class: predictions there, and boundaries against it, do not count.
    """

    def __init__(self, classes: int, tolerance: float = TOLERANCE) -> None:
        self._tolerance = tolerance
        self._sum = np.zeros(classes)
        self._pictures = np.zeros(classes, np.int64)

    def add(self, truth: LabelMap, prediction: LabelMap) -> None:
        """Count one picture: two (H, W) maps of the classes, with void."""
        limit = self._tolerance * float(np.hypot(*truth.shape))
        prediction = np.where(truth == VOID, VOID, prediction)
        expected, found = _boundary(truth), _boundary(prediction)
        for label in np.unique(truth[expected]):
            here, there = expected & (truth == label), found & (prediction == label)
            self._sum[label] += _f_score(here, there, limit)
            self._pictures[label] += 1

    def per_class(self) -> npt.NDArray[np.float64]:
        """(C,) mean F-score, NaN for classes without a boundary."""
        seen = self._pictures > 0
        score: npt.NDArray[np.float64] = np.divide(
            self._sum, self._pictures, out=np.full(len(self._sum), np.nan), where=seen
        )
        return score

    def mean(self) -> float:
        """Mean over the classes that have a boundary somewhere; NaN if none has."""
        scores = self.per_class()
        return float(np.nanmean(scores)) if np.isfinite(scores).any() else float("nan")


def _boundary(labels: LabelMap) -> npt.NDArray[np.bool_]:
    """(H, W): pixels with a neighbour of another class, void on neither side."""
    found = np.zeros(labels.shape, bool)
    for one, other in (np.s_[:, :-1], np.s_[:, 1:]), (np.s_[:-1], np.s_[1:]):
        differ = (labels[one] != labels[other]) & (labels[one] != VOID) & (labels[other] != VOID)
        found[one] |= differ
        found[other] |= differ
    return found


def _f_score(truth: npt.NDArray[np.bool_], prediction: npt.NDArray[np.bool_], limit: float) -> float:
    if not prediction.any():
        return 0.0
    precision = _share_near(prediction, truth, limit)
    recall = _share_near(truth, prediction, limit)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _share_near(pixels: npt.NDArray[np.bool_], others: npt.NDArray[np.bool_], limit: float) -> float:
    """Share of ``pixels`` that have one of ``others`` within ``limit`` pixels."""
    distance = cv2.distanceTransform((~others).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return float((distance[pixels] <= limit).mean())
