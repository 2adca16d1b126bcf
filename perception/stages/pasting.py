"""Objects from a detector's boxes and masks: every mask, small and square, laid over its box; they may overlap."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from perception.classes import ClassTable
from perception.types import VOID, Detections, Instances, LabelMap

INSIDE = 0.5  # probability from which on a pixel belongs to the object

Floats = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]


def pasted(detections: Detections, labels: LabelMap, classes: ClassTable, *, least: float) -> Instances:
    """The objects of one frame, best first, on a map of the size of ``labels`` (h, w).

    A mask is enlarged to its box bilinearly (He et al. 2017, appendix A) and cut at ``INSIDE``; the object's box then
    is the smallest around what is left. Where labels are void there is no object. Other than with an ids map, labels
    inside an object may be of any class: the two come from different parts of the network.

    An object's score is that of its detection times the mean probability of its pixels. Objects of fewer than
    ``least`` pixels, and of classes that are not countable, are left out.
    """
    things, judged = set(classes.thing_ids()), labels != VOID
    boxes: list[tuple[int, int, int, int]] = []
    masks: list[Mask] = []
    rows: list[tuple[float, int]] = []  # score, class
    for box, score, class_id, mask in zip(
        detections.boxes, detections.scores.tolist(), detections.class_ids.tolist(), detections.masks
    ):
        if score <= 0 or class_id not in things:
            continue
        x, y, probability = enlarged(mask, box, labels.shape)
        found = (probability >= INSIDE) & judged[y : y + probability.shape[0], x : x + probability.shape[1]]
        if not found.any() or found.sum() < least:
            continue
        down, across = np.flatnonzero(found.any(axis=1)), np.flatnonzero(found.any(axis=0))
        tight = found[down[0] : down[-1] + 1, across[0] : across[-1] + 1]
        left, top = x + int(across[0]), y + int(down[0])
        boxes.append((left, top, left + tight.shape[1], top + tight.shape[0]))
        masks.append(np.ascontiguousarray(tight))
        rows.append((min(1.0, score * float(probability[found].mean())), class_id))
    scores = np.array([score for score, _ in rows], np.float32)
    order = np.argsort(-scores, kind="stable")
    return Instances(
        class_ids=np.array([class_id for _, class_id in rows], np.uint8)[order],
        scores=scores[order],
        boxes=np.array(boxes, np.int32).reshape(-1, 4)[order],
        areas=np.array([mask.sum() for mask in masks], np.int32)[order],
        masks=tuple(masks[k] for k in order),
    )


def enlarged(mask: Floats, box: Floats, shape: tuple[int, ...]) -> tuple[int, int, Floats]:
    """A mask (m, m) over the pixels of a map of ``shape`` (h, w) that ``box`` touches: x, y of the first, and values.

    ``box`` is x0 y0 x1 y1, edges in map pixels. A pixel's value is that of its middle; the border repeats.
    """
    spans = []
    for low, high, end, cells in ((box[1], box[3], shape[0], mask.shape[0]), (box[0], box[2], shape[1], mask.shape[1])):
        first, last = max(0, int(np.floor(low))), min(end, int(np.ceil(high)))
        middles = np.arange(first, max(first, last), dtype=np.float32) + np.float32(0.5)
        at = np.clip((middles - low) / max(float(high - low), 1e-6) * cells - 0.5, 0, cells - 1)
        spans.append((first, np.maximum(0, 1 - np.abs(at[:, None] - np.arange(cells, dtype=np.float32)))))
    (y, down), (x, across) = spans
    return x, y, np.asarray(down @ mask @ across.T, np.float32)
