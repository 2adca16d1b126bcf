"""What the detector learns of a crop, made in a loader's worker: numpy, no Keras.

All of it goes through the loader as one flat f32 vector a frame; ``TargetLayout`` says what lies where.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from perception.types import Size
from training.data.augment import LABEL_STRIDE
from training.data.centres import UNKNOWN, Ids
from training.data.instances import PER_CLASS
from training.mask_rcnn.boxes import all_anchors, encode, level_shapes, overlaps
from training.mask_rcnn.settings import THING_IDS

SAMPLED = (
    256  # anchors a frame that the first stage learns from, at most half of them objects (Ren 2015, section 3.1.3)
)
OBJECTS = 64  # a crop: the largest
POSITIVE, NEGATIVE = 0.7, 0.3  # IoU from which on an anchor is an object, and up to which it is background
LEAST_PIXELS = 4  # of the map: what has fewer is nothing that can be learnt
HIDDEN = 0.5  # share of a box on what nobody knows, from which on it is no background
ANYTHING = 255.0  # in the map: here the truth does not say which objects there are

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class TargetLayout:
    """Where in the flat vector of a frame what lies; ``size`` (w, h) is that of the crops."""

    size: Size

    @property
    def map_shape(self) -> tuple[int, int]:
        """(h, w) of the map of objects."""
        return self.size[1] // LABEL_STRIDE, self.size[0] // LABEL_STRIDE

    def pack(self, anchors: Floats, objects: Floats, drawn: Floats) -> Floats:
        """The vector of one frame."""
        return np.concatenate([anchors.ravel(), objects.ravel(), drawn.ravel()]).astype(np.float32)

    def unpack(self, vectors: Any, xp: Any) -> tuple[Any, Any, Any]:
        """Of (B, L) vectors, with ``xp`` numpy or keras.ops, all f32:

        * anchors (B, SAMPLED, 6): index; 1 object, 0 background, -1 an empty row; code of the box
        * objects (B, OBJECTS, 5): box; class from 1, 0 in an empty row
        * the map (B, h, w): number of the object from 1, 0 for none, ``ANYTHING``
        """
        first, second = SAMPLED * 6, SAMPLED * 6 + OBJECTS * 5
        return (
            xp.reshape(vectors[:, :first], (-1, SAMPLED, 6)),
            xp.reshape(vectors[:, first:second], (-1, OBJECTS, 5)),
            xp.reshape(vectors[:, second:], (-1, *self.map_shape)),
        )


@dataclass(frozen=True, slots=True)
class DetectionTargets:
    """Makes the targets of crops of ``size``; see ``training.data.instance_samples.Targeting``."""

    size: Size

    def of(self, ids: Ids) -> Floats:
        """(L,) from the instance map (H, W) at half the crop's size; the same map gives the same sample of anchors."""
        objects, drawn = objects_of(ids)
        shapes = level_shapes(self.size[1], self.size[0])
        random = np.random.default_rng(zlib.crc32(np.ascontiguousarray(ids).tobytes()))
        anchors = np.asarray(all_anchors(shapes, np))
        return TargetLayout(self.size).pack(assign(anchors, objects, drawn, random), objects, drawn)


def objects_of(ids: Ids) -> tuple[Floats, Floats]:
    """The objects (OBJECTS, 5) of an instance map (H, W), largest first, and the map with their numbers."""
    values, counts = np.unique(ids, return_counts=True)
    counted = (values > 0) & (values != UNKNOWN)
    chosen = counted & (counts >= LEAST_PIXELS)
    drawn = np.where(np.isin(ids, values[counted]) | (ids == UNKNOWN), ANYTHING, 0).astype(np.float32)
    objects = np.zeros((OBJECTS, 5), np.float32)
    largest = values[chosen][np.argsort(-counts[chosen], kind="stable")]
    for number, value in enumerate(largest[:OBJECTS].tolist()):
        rows, columns = np.nonzero(ids == value)
        drawn[rows, columns] = number + 1
        box = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]) * LABEL_STRIDE
        objects[number] = [*box, THING_IDS.index(value // PER_CLASS) + 1]
    return objects, drawn


def assign(anchors: Floats, objects: Floats, drawn: Floats, random: np.random.Generator) -> Floats:
    """(SAMPLED, 6) rows of anchors to learn from, as ``TargetLayout`` has them.

    An anchor is an object where it overlaps one by ``POSITIVE``, or more than any other anchor does; background
    where it overlaps none by ``NEGATIVE`` and does not lie on what nobody knows.
    """
    boxes = objects[objects[:, 4] > 0, :4]
    found = np.zeros((SAMPLED, 6), np.float32)
    found[:, 1] = -1
    shared = np.asarray(overlaps(anchors, boxes, np)) if len(boxes) else np.zeros((len(anchors), 1), np.float32)
    best = shared.max(axis=1)
    positive = best >= POSITIVE
    if len(boxes):
        highest = shared.max(axis=0)
        positive |= ((shared >= highest - 1e-6) & (highest > 0.1)).any(axis=1)
    background = ~positive & (best < NEGATIVE) & (_share_unknown(anchors, drawn) < HIDDEN)
    chosen = _some(np.flatnonzero(positive), SAMPLED // 2, random)
    others = _some(np.flatnonzero(background), SAMPLED - len(chosen), random)
    if len(chosen):
        owners = boxes[shared[chosen].argmax(axis=1)]
        found[: len(chosen), 2:] = encode(owners, anchors[chosen], np)
    index = np.concatenate([chosen, others])
    found[: len(index), 0] = index
    found[: len(index), 1] = np.arange(len(index)) < len(chosen)
    return found


def _some(index: npt.NDArray[np.intp], most: int, random: np.random.Generator) -> npt.NDArray[np.intp]:
    return random.choice(index, most, replace=False) if len(index) > most else index


def _share_unknown(boxes: Floats, drawn: Floats) -> npt.NDArray[np.float64]:
    """(N,) the share of each box's part inside the map that lies on ``ANYTHING``; 1 for a box outside."""
    height, width = drawn.shape
    sums = np.zeros((height + 1, width + 1))
    sums[1:, 1:] = (drawn == ANYTHING).cumsum(axis=0).cumsum(axis=1)
    limits = np.array([width, height, width, height])
    x0, y0, x1, y1 = np.clip(np.rint(boxes / LABEL_STRIDE).astype(np.intp), 0, limits).T
    area = (x1 - x0) * (y1 - y0)
    inside = sums[y1, x1] - sums[y0, x1] - sums[y1, x0] + sums[y0, x0]
    return np.where(area > 0, inside / np.maximum(area, 1), 1.0)
