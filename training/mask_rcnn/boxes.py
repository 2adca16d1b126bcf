"""Anchors and the code of boxes, in numpy or in ``keras.ops``: ``xp`` is the module that computes.

Boxes are (..., 4) f32 x0 y0 x1 y1 in network pixels, edges, not pixel centres.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from training.mask_rcnn.settings import RATIOS, SIZES, STRIDES

Tensor = Any
LARGEST_GROWTH = math.log(1000 / 16)  # of a side, so that no code overflows


def level_shapes(height: Any, width: Any) -> list[tuple[Any, Any]]:
    """(h, w) of the pyramid's maps for a frame whose sides are multiples of 32."""
    whole = [(height // stride, width // stride) for stride in STRIDES[:-1]]
    return [*whole, ((whole[-1][0] + 1) // 2, (whole[-1][1] + 1) // 2)]


def anchors_at(size: float) -> np.ndarray[Any, np.dtype[np.float32]]:
    """(R, 4) f32 the anchors of one level about the point 0, 0: of one area, and of each ratio."""
    ratios = np.array(RATIOS)
    half = np.stack([size / np.sqrt(ratios), size * np.sqrt(ratios)], axis=1) / 2
    return np.concatenate([-half, half], axis=1).astype(np.float32)


def all_anchors(shapes: Sequence[tuple[Any, Any]], xp: Any) -> Tensor:
    """(A, 4) f32 anchors of all levels, finest first; of a level by row, column and ratio."""
    levels = []
    for (height, width), stride, size in zip(shapes, STRIDES, SIZES):
        rows = (xp.arange(height, dtype="float32") + 0.5) * stride
        columns = (xp.arange(width, dtype="float32") + 0.5) * stride
        across, down = (xp.array(axis, dtype="float32") for axis in ([1, 0, 1, 0], [0, 1, 0, 1]))
        middle = xp.reshape(rows, (-1, 1, 1, 1)) * down + xp.reshape(columns, (1, -1, 1, 1)) * across
        levels.append(xp.reshape(middle + xp.array(anchors_at(size)), (-1, 4)))
    return xp.concatenate(levels, axis=0)


def encode(boxes: Tensor, anchors: Tensor, xp: Any, weights: Sequence[float] = (1, 1, 1, 1)) -> Tensor:
    """(..., 4) how boxes differ from anchors: shift by the anchor's sides, growth as a logarithm (Girshick 2015)."""
    width, height = (xp.maximum(anchors[..., i + 2] - anchors[..., i], 1e-3) for i in (0, 1))
    wide, high = (xp.maximum(boxes[..., i + 2] - boxes[..., i], 1e-3) for i in (0, 1))
    right = (boxes[..., 0] + boxes[..., 2] - anchors[..., 0] - anchors[..., 2]) / 2 / width
    down = (boxes[..., 1] + boxes[..., 3] - anchors[..., 1] - anchors[..., 3]) / 2 / height
    code = xp.stack([right, down, xp.log(wide / width), xp.log(high / height)], axis=-1)
    return code * xp.array(weights, dtype="float32")


def decode(code: Tensor, anchors: Tensor, xp: Any, weights: Sequence[float] = (1, 1, 1, 1)) -> Tensor:
    """The boxes that ``encode`` made the code of, as far as no side grows more than ``LARGEST_GROWTH``."""
    code = code / xp.array(weights, dtype="float32")
    width, height = anchors[..., 2] - anchors[..., 0], anchors[..., 3] - anchors[..., 1]
    x = (anchors[..., 0] + anchors[..., 2]) / 2 + code[..., 0] * width
    y = (anchors[..., 1] + anchors[..., 3]) / 2 + code[..., 1] * height
    half_wide = xp.exp(xp.minimum(code[..., 2], LARGEST_GROWTH)) * width / 2
    half_high = xp.exp(xp.minimum(code[..., 3], LARGEST_GROWTH)) * height / 2
    return xp.stack([x - half_wide, y - half_high, x + half_wide, y + half_high], axis=-1)


def overlaps(one: Tensor, other: Tensor, xp: Any) -> Tensor:
    """(..., N, M) intersection over union of (..., N, 4) with (..., M, 4) boxes; 0 where both are empty."""
    one, other = xp.expand_dims(one, -2), xp.expand_dims(other, -3)
    wide = xp.minimum(one[..., 2], other[..., 2]) - xp.maximum(one[..., 0], other[..., 0])
    high = xp.minimum(one[..., 3], other[..., 3]) - xp.maximum(one[..., 1], other[..., 1])
    shared = xp.maximum(wide, 0) * xp.maximum(high, 0)
    areas = [(b[..., 2] - b[..., 0]) * (b[..., 3] - b[..., 1]) for b in (one, other)]
    return shared / xp.maximum(areas[0] + areas[1] - shared, 1e-9)
