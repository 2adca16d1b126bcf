"""Panoptic quality (Kirillov et al. 2019, "Panoptic Segmentation", section 4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from perception.classes import CITYSCAPES
from perception.types import VOID, LabelMap
from training.metrics.overlaps import NUMBERS, InstanceTruth, overlaps_of_ids

Values = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class PanopticScore:
    """Counts of the 19 classes, and what follows from them."""

    images: int
    hits: npt.NDArray[np.int64]  # (19,) segments met: IoU above 0.5
    wrong: npt.NDArray[np.int64]  # (19,) predicted segments that meet none
    missed: npt.NDArray[np.int64]  # (19,) true segments that are not met
    iou: Values  # (19,) summed over the hits

    def quality(self) -> Values:
        """(19, 3) PQ, SQ and RQ of each class, PQ = SQ x RQ; NaN for classes that are nowhere."""
        every = self.hits + (self.wrong + self.missed) / 2
        seen = every > 0
        table = np.full((len(every), 3), np.nan)
        table[seen, 0] = self.iou[seen] / every[seen]
        table[seen, 1] = self.iou[seen] / np.maximum(self.hits[seen], 1)
        table[seen, 2] = self.hits[seen] / every[seen]
        return table

    def mean(self, things: bool | None = None) -> Values:
        """(3,) PQ, SQ and RQ: mean over the classes present, of all, of things or of stuff."""
        chosen = [row.id for row in CITYSCAPES.rows if things is None or row.is_thing == things]
        table = self.quality()[chosen]
        table = table[np.isfinite(table[:, 0])]
        return np.asarray(table.mean(axis=0), np.float64) if len(table) else np.full(3, np.nan)

    def to_json(self) -> dict[str, object]:
        """Plain numbers, rounded to four digits; None where there is no figure."""
        table = self.quality()
        return {
            "images": self.images,
            **_named(self.mean()),
            "things": _named(self.mean(things=True)),
            "stuff": _named(self.mean(things=False)),
            "classes": {row.name: _named(table[row.id]) for row in CITYSCAPES.rows if np.isfinite(table[row.id, 0])},
        }


def _named(values: Values) -> dict[str, float | None]:
    return {name: round(float(v), 4) if np.isfinite(v) else None for name, v in zip(("pq", "sq", "rq"), values)}


class PanopticTally:
    """Collects segments picture by picture: every object, and all pixels of one stuff class together.

    Figures equal those of ``evalPanopticSemanticLabeling`` in cityscapesScripts. Predicted pixels of a countable
    class that belong to no object are left unassigned, as the benchmark has it: they help nobody, and
    miss what is there.
    """

    def __init__(self) -> None:
        self._images = 0
        self._hits, self._wrong, self._missed = (np.zeros(len(CITYSCAPES), np.int64) for _ in range(3))
        self._iou = np.zeros(len(CITYSCAPES))

    def add(self, truth: InstanceTruth, labels: LabelMap, ids: npt.NDArray[Any], class_ids: npt.NDArray[Any]) -> None:
        """Count one picture.

        Args:
            truth: (H, W) maps.
            labels: (H, W) predicted train ids, 255 for none.
            ids: (H, W) predicted objects, 0 for none; object k has the value k + 1.
            class_ids: (N,) their train ids.

        Raises:
            ValueError: shapes or counts do not agree.
        """
        if labels.shape != ids.shape:
            raise ValueError(f"Labels are {labels.shape}, ids {ids.shape}; they must agree.")
        segments, classes = _segments(labels, ids, np.asarray(class_ids, np.int64))
        table = overlaps_of_ids(truth.codes(), segments, len(classes))
        occurs = table.areas > 0
        shared, areas, classes = table.shared[:, occurs], table.areas[occurs], classes[occurs]
        codes = table.codes
        things = np.isin(codes, CITYSCAPES.thing_ids())
        counted = (codes >= NUMBERS) | (~things & (codes != VOID))  # groups and void are nobody's to find
        owners = np.where(codes >= NUMBERS, codes // NUMBERS, codes)
        same = owners[:, None] == classes

        on_void = shared[codes == VOID].sum(axis=0)
        on_group = np.where(things[:, None] & same, shared, 0).sum(axis=0)
        owners, same, shared = owners[counted], same[counted], shared[counted]
        iou = shared / (table.truth_areas[counted, None] + areas - shared - on_void)
        met = (iou > 0.5) & same  # at most one of a row and of a column: what shares more than half is unique
        found = met.any(axis=1)
        wrong = ~met.any(axis=0) & ((on_void + on_group) / areas <= 0.5)
        np.add.at(self._hits, owners[found], 1)
        np.add.at(self._iou, owners[found], iou[met])
        np.add.at(self._missed, owners[~found], 1)
        np.add.at(self._wrong, classes[wrong], 1)
        self._images += 1

    def score(self) -> PanopticScore:
        """The figures of all pictures so far."""
        return PanopticScore(self._images, self._hits.copy(), self._wrong.copy(), self._missed.copy(), self._iou.copy())


def _segments(
    labels: LabelMap, ids: npt.NDArray[Any], class_ids: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The (H, W) number of each pixel's predicted segment, 0 for none, and the class of each segment."""
    stuff = np.zeros(VOID + 1, np.int64)
    stuff_ids = [row.id for row in CITYSCAPES.rows if not row.is_thing]
    stuff[stuff_ids] = np.arange(len(stuff_ids)) + len(class_ids) + 1
    segments = np.where(ids > 0, ids.astype(np.int64), stuff[labels])
    return segments, np.append(class_ids, stuff_ids)
