"""Which boxes the second stage learns from, and what it should say of each; static shapes, in ``keras.ops``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from keras import ops

from training.data.augment import LABEL_STRIDE
from training.mask_rcnn.boxes import overlaps
from training.mask_rcnn.settings import MASK_SIDE
from training.mask_rcnn.targets import ANYTHING, HIDDEN

Tensor = Any
POSITIVES, NEGATIVES = 16, 48  # boxes a frame: one object to three of background (He et al. 2017, section 3.1)
OVERLAP = 0.5  # IoU with an object from which on a box is one
_PROBES = 8  # points along a side of a box that are asked whether they lie on what nobody knows


@dataclass(frozen=True, slots=True, eq=False)
class Sampled:
    """R boxes of each of B frames; the first ``positives`` alone may be objects."""

    boxes: Tensor  # (B, R, 4)
    weights: Tensor  # (B, R) 0 for a row that is filled up
    classes: Tensor  # (B, R) i32, 0 = background
    owners: Tensor  # (B, R, 4) box of the object that each overlaps most
    numbers: Tensor  # (B, R) f32 number of that object in the map
    positives: int = POSITIVES


def sample(proposals: Tensor, objects: Tensor, drawn: Tensor) -> Sampled:
    """Choose among proposals (B, P, 4) and the true boxes of ``objects`` (B, G, 5).

    Who is chosen is decided by an order that depends on the boxes alone and is as good as drawn by lot: a run that
    is resumed needs no state of a generator. Background that may be an object nobody named is left out: see ``drawn``,
    the map (B, h, w).
    """
    truth, there = objects[..., :4], objects[..., 4] > 0.5
    boxes = ops.stop_gradient(ops.concatenate([proposals, truth], axis=1))
    shared = ops.where(there[:, None, :], overlaps(boxes, truth, ops), 0.0)  # (B, P + G, G)
    best, owner = ops.max(shared, axis=-1), ops.cast(ops.argmax(shared, axis=-1), "int32")
    real = (boxes[..., 2] - boxes[..., 0] >= 1.0) & (boxes[..., 3] - boxes[..., 1] >= 1.0)
    positive = real & (best >= OVERLAP)
    background = real & (best < OVERLAP) & (_unknown(boxes, drawn) < HIDDEN)
    lot = _lot(boxes)
    chosen = [
        ops.top_k(ops.where(one, lot, -1.0), count) for one, count in ((positive, POSITIVES), (background, NEGATIVES))
    ]
    keys = ops.concatenate([key for key, _ in chosen], axis=1)
    index = ops.concatenate([ops.cast(place, "int32") for _, place in chosen], axis=1)
    weights = ops.cast(keys >= 0, "float32")
    owner = ops.take_along_axis(owner, index, axis=1)
    classes = ops.take_along_axis(objects[..., 4], owner, axis=1)
    is_object = ops.arange(POSITIVES + NEGATIVES) < POSITIVES
    classes = ops.where(is_object & (weights > 0), classes, 0.0)
    return Sampled(
        boxes=ops.take_along_axis(boxes, ops.expand_dims(index, -1), axis=1),
        weights=weights,
        classes=ops.cast(classes, "int32"),
        owners=ops.take_along_axis(truth, ops.expand_dims(owner, -1), axis=1),
        numbers=ops.cast(owner, "float32") + 1.0,
    )


def mask_targets(sampled: Sampled, drawn: Tensor) -> Tensor:
    """(B, positives, 28, 28) f32 0 or 1: where in its box each object is, of the map (B, h, w)."""
    count = sampled.positives
    values = _look_up(sampled.boxes[:, :count], drawn, MASK_SIDE)
    return ops.cast(values == sampled.numbers[:, :count, None, None], "float32")


def _unknown(boxes: Tensor, drawn: Tensor) -> Tensor:
    """(B, R) the share of each box that lies on ``ANYTHING``."""
    on = ops.cast(_look_up(boxes, drawn, _PROBES) == ANYTHING, "float32")
    return ops.mean(on, axis=(2, 3))


def _look_up(boxes: Tensor, drawn: Tensor, side: int) -> Tensor:
    """(B, R, side, side) values of the map (B, h, w) at points spread evenly over boxes (B, R, 4)."""
    height, width = drawn.shape[1:]
    steps = (ops.arange(side, dtype="float32") + 0.5) / side
    index = []
    for low, high, end in ((boxes[..., 1], boxes[..., 3], height), (boxes[..., 0], boxes[..., 2], width)):
        at = (ops.expand_dims(low, -1) + ops.expand_dims(high - low, -1) * steps) / LABEL_STRIDE
        index.append(ops.clip(ops.cast(ops.floor(at), "int32"), 0, end - 1))
    cells = ops.expand_dims(index[0], -1) * width + ops.expand_dims(index[1], -2)
    flat = ops.reshape(drawn, (-1, height * width))
    found = ops.take_along_axis(flat, ops.reshape(cells, (ops.shape(cells)[0], -1)), axis=1)
    return ops.reshape(found, ops.shape(cells))


def _lot(boxes: Tensor) -> Tensor:
    """(B, R) in 0..1: a number for each box that has nothing to do with where it is."""
    mixed = ops.sum(boxes * ops.array([12.9898, 78.233, 37.719, 4.581], dtype="float32"), axis=-1)
    wild = ops.sin(mixed) * 43758.547
    return wild - ops.floor(wild)
