"""Average precision of objects, as the Cityscapes benchmark measures it (Cordts et al. 2016, section 4.2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from perception.classes import CITYSCAPES
from perception.types import VOID
from training.metrics.average_precision import average_precision
from training.metrics.overlaps import NUMBERS, InstanceTruth, Masks, Overlaps, overlaps_of_ids, overlaps_of_masks
from training.metrics.touching import TouchingScore, TouchingTally

MIN_AREA = 100  # pixels; smaller true objects are ignored, neither demanded nor counted as wrong
LARGE_AREA = 1000  # pixels; what the benchmark demands of objects that count as near
THRESHOLDS = tuple(float(value) for value in np.arange(0.5, 1.0, 0.05))  # intersection over union
NEAR_M = (100.0, 50.0)
Values = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class InstanceScore:
    """Average precision by class and threshold; NaN for classes of which the truth shows no object."""

    class_ids: tuple[int, ...]  # C countable classes
    images: int
    objects: npt.NDArray[np.int64]  # (C,) true objects of the least area and more
    ap: Values  # (C, 10)
    ap_large: Values  # (C, 10) objects of 1000 pixels and more
    ap_near: dict[float, Values]  # (C, 10) by metres: those and at least 1000 pixels; empty without distances
    touching: TouchingScore

    def mean(self, values: Values | None = None) -> float:
        """Mean over the classes present and the thresholds; of ``ap`` where nothing else is given."""
        values = self.ap if values is None else values
        return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")

    def of(self, class_id: int) -> tuple[float, float]:
        """AP and AP50 of one class."""
        row = self.ap[self.class_ids.index(class_id)]
        return float(row.mean()), float(row[0])

    def to_json(self) -> dict[str, object]:
        """Plain numbers, rounded to four digits; None where there is no figure."""
        near = {f"ap_{metres:g}m": _plain(self.mean(values)) for metres, values in self.ap_near.items()}
        classes = {
            CITYSCAPES.name(class_id): {
                "objects": int(count),
                "ap": _plain(float(row.mean())),
                "ap50": _plain(float(row[0])),
                "ap_large": _plain(float(large.mean())),
            }
            for class_id, count, row, large in zip(self.class_ids, self.objects, self.ap, self.ap_large)
            if count or np.isfinite(row).any()
        }
        return {
            "images": self.images,
            "objects": int(self.objects.sum()),
            "ap": _plain(self.mean()),
            "ap50": _plain(self.mean(self.ap[:, :1])),
            "ap_large": _plain(self.mean(self.ap_large)),
            **near,
            "classes": classes,
            "touching": self.touching.to_json(),
        }


class InstanceTally:
    """Collects objects picture by picture; add pictures of any size, then ask for the score.

    A predicted object is right at a threshold if its intersection over union with a true object of its class
    exceeds it. A second one on the same object is wrong, and so is one that matches nothing, unless more of it
    than the threshold's share lies on void, groups or true objects that are ignored. Figures equal those of
    ``evalInstanceLevelSemanticLabeling`` in cityscapesScripts, with one exception: trailers and caravans are
    void here even where they are labelled one by one.
    """

    def __init__(self, min_area: int = MIN_AREA, classes: Sequence[int] = CITYSCAPES.thing_ids()) -> None:
        self._min_area = min_area
        self._classes = tuple(classes)
        self._pictures: list[_Picture] = []
        self._touching = TouchingTally(min_area)

    def add(
        self, truth: InstanceTruth, ids: npt.NDArray[Any], class_ids: npt.NDArray[Any], scores: npt.NDArray[Any]
    ) -> None:
        """Count one picture whose objects do not overlap.

        Args:
            truth: (H, W) maps.
            ids: (H, W) integers, 0 for none; object k has the value k + 1.
            class_ids: (N,) train ids.
            scores: (N,) the higher the surer.

        Raises:
            ValueError: shapes or counts do not agree.
        """
        codes = truth.codes()
        self._add(truth, overlaps_of_ids(codes, ids, len(class_ids)), class_ids, scores)
        self._touching.add(codes, self._pictures[-1].overlaps, class_ids)

    def add_masks(
        self, truth: InstanceTruth, masks: Masks, class_ids: npt.NDArray[Any], scores: npt.NDArray[Any]
    ) -> None:
        """Count one picture whose N objects, (H, W) bool each, may overlap. Raises ValueError as ``add``."""
        codes = truth.codes()
        self._add(truth, overlaps_of_masks(codes, masks), class_ids, scores)
        self._touching.add(codes, self._pictures[-1].overlaps, class_ids)

    def _add(
        self, truth: InstanceTruth, overlaps: Overlaps, class_ids: npt.NDArray[Any], scores: npt.NDArray[Any]
    ) -> None:
        if not len(overlaps.areas) == len(class_ids) == len(scores):
            raise ValueError(
                f"There are {len(overlaps.areas)} objects, {len(class_ids)} classes and {len(scores)} scores."
            )
        distances = np.array([truth.distances.get(int(code), np.inf) for code in overlaps.codes])
        self._pictures.append(
            _Picture(overlaps, np.asarray(class_ids), np.asarray(scores, np.float64), distances, bool(truth.distances))
        )

    def score(self) -> InstanceScore:
        """The figures of all pictures so far."""
        measured = any(picture.measured for picture in self._pictures)
        return InstanceScore(
            class_ids=self._classes,
            images=len(self._pictures),
            objects=np.array([self._count(class_id) for class_id in self._classes], np.int64),
            ap=self._precision(self._min_area, np.inf),
            ap_large=self._precision(LARGE_AREA, np.inf),
            ap_near={metres: self._precision(LARGE_AREA, metres) for metres in NEAR_M} if measured else {},
            touching=self._touching.score(),
        )

    def _count(self, class_id: int) -> int:
        return sum(
            int(((p.overlaps.codes // NUMBERS == class_id) & (p.overlaps.truth_areas >= self._min_area)).sum())
            for p in self._pictures
        )

    def _precision(self, min_area: int, limit_m: float) -> Values:
        table = np.full((len(self._classes), len(THRESHOLDS)), np.nan)
        for row, class_id in zip(table, self._classes):
            of_class = [_of_class(picture, class_id, min_area, limit_m) for picture in self._pictures]
            if any(len(picture.iou) for picture in of_class):
                row[:] = [_at(of_class, level) for level in range(len(THRESHOLDS))]
        return table


@dataclass(frozen=True, slots=True, eq=False)
class _Picture:
    overlaps: Overlaps
    class_ids: npt.NDArray[Any]  # (N,)
    scores: Values  # (N,)
    distances: Values  # (S,) metres, infinite where unknown
    measured: bool  # whether any distance is known


@dataclass(frozen=True, slots=True, eq=False)
class _OfClass:
    """One class of one picture: T true objects that count by P predicted ones."""

    iou: Values  # (T, P)
    scores: Values  # (P,)
    excused: Values  # (P,) share of a prediction on what is ignored
    matched: npt.NDArray[np.bool_]  # (10, P), by threshold: whether it overlaps any true object, ignored or not


def _of_class(picture: _Picture, class_id: int, min_area: int, limit_m: float) -> _OfClass:
    table = picture.overlaps
    chosen = (picture.class_ids == class_id) & (table.areas > 0)
    shared, areas = table.shared[:, chosen], table.areas[chosen]
    objects, group = table.codes // NUMBERS == class_id, table.codes == class_id
    iou = shared / (table.truth_areas[:, None] + areas - shared)
    own = objects | group
    left_out = own & ((table.truth_areas < min_area) | (picture.distances > limit_m))
    # The benchmark counts a group that is small, too, twice; figures are to be compared with its own.
    excused = shared[table.codes == VOID].sum(axis=0) + shared[group].sum(axis=0) + shared[left_out].sum(axis=0)
    matched = np.array([(iou[own] > threshold).any(axis=0) for threshold in THRESHOLDS])
    return _OfClass(iou[objects & ~left_out], picture.scores[chosen], excused / areas, matched)


def _at(pictures: Sequence[_OfClass], level: int) -> float:
    """Average precision of one class, which has true objects, at one threshold."""
    threshold = THRESHOLDS[level]
    scores: list[Values] = []
    right: list[npt.NDArray[np.bool_]] = []
    missed = 0
    for picture in pictures:
        hits = picture.iou > threshold
        best = np.where(hits, picture.scores, -np.inf).max(axis=1, initial=-np.inf)[hits.any(axis=1)]
        # Of several predictions on one object the surest is right; each of the others is a mistake.
        rivals = [np.sort(picture.scores[row])[:-1] for row in hits if row.sum() > 1]
        wrong = picture.scores[~picture.matched[level] & (picture.excused <= threshold)]
        scores += [best, *rivals, wrong]
        right += [np.ones(len(best), bool), np.zeros(sum(map(len, rivals)) + len(wrong), bool)]
        missed += len(hits) - len(best)
    return average_precision(np.concatenate(scores), np.concatenate(right), missed)


def _plain(value: float) -> float | None:
    return round(value, 4) if np.isfinite(value) else None  # JSON has no NaN
