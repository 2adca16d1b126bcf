"""RoIAlign (He et al. 2017, section 3): features of a box, bilinearly, nothing rounded; in ``keras.ops``.

Equals ONNX's RoiAlign with ``coordinate_transformation_mode`` half_pixel, mode avg and ``sampling_ratio`` 2.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from keras import ops

from training.mask_rcnn.settings import CANONICAL, SAMPLES, STRIDES

Tensor = Any


def level_of(boxes: Tensor) -> Tensor:
    """(...,) i32: which level of the pyramid, from 0, boxes (..., 4) are read off: the larger, the coarser."""
    area = (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])
    return sum(ops.cast(area >= float(side**2), "int32") for side in CANONICAL)


def roi_align(levels: Sequence[Tensor], boxes: Tensor, bins: int, level: Tensor) -> Tensor:
    """(B, R, bins, bins, C) from maps (B, h, w, C) at ``STRIDES`` and boxes (B, R, 4) in network pixels.

    ``level`` (B, R) i32 says which map each box is read off. Every bin is the mean of ``SAMPLES`` x ``SAMPLES``
    points; a point up to one cell outside reads the border, beyond that zero.
    """
    sizes = [ops.shape(one) for one in levels]
    channels = levels[0].shape[-1]
    flat = ops.concatenate([ops.reshape(one, (-1, size[1] * size[2], channels)) for one, size in zip(levels, sizes)], 1)
    length = sum(size[1] * size[2] for size in sizes)
    begins = [sum((size[1] * size[2] for size in sizes[:k]), 0) for k in range(len(sizes))]

    def of_level(values: Sequence[Any]) -> Tensor:
        """(B, R) the value that belongs to each box's level."""
        table = ops.stack([ops.cast(value, "int32") for value in values])
        return ops.take(table, level, axis=0)

    height, width = of_level([size[1] for size in sizes]), of_level([size[2] for size in sizes])
    stride = ops.take(ops.array(STRIDES[: len(levels)], dtype="float32"), level, axis=0)
    y = _points(boxes[..., 1] / stride - 0.5, boxes[..., 3] / stride - 0.5, bins)
    x = _points(boxes[..., 0] / stride - 0.5, boxes[..., 2] / stride - 0.5, bins)
    rows, row_weights = _corners(y, height)
    columns, column_weights = _corners(x, width)
    frames = ops.reshape(ops.arange(ops.shape(boxes)[0], dtype="int32") * length, (-1, 1, 1, 1))
    start = frames + ops.expand_dims(ops.expand_dims(of_level(begins), -1), -1)
    wide = ops.expand_dims(ops.expand_dims(width, -1), -1)
    cells = ops.reshape(flat, (-1, channels))
    total: Any = 0.0
    for row, row_weight in zip(rows, row_weights):
        for column, column_weight in zip(columns, column_weights):
            index = start + ops.expand_dims(row, -1) * wide + ops.expand_dims(column, -2)
            weight = ops.expand_dims(row_weight, -1) * ops.expand_dims(column_weight, -2)
            total = total + ops.take(cells, index, axis=0) * ops.expand_dims(weight, -1)
    several = ops.reshape(total, (-1, ops.shape(boxes)[1], bins, SAMPLES, bins, SAMPLES, channels))
    return ops.mean(several, axis=(3, 5))


def _points(low: Tensor, high: Tensor, bins: int) -> Tensor:
    """(B, R, bins * SAMPLES) where between two edges (B, R) the points lie, in cells."""
    steps = (ops.arange(bins * SAMPLES, dtype="float32") + 0.5) / (bins * SAMPLES)
    return ops.expand_dims(low, -1) + ops.expand_dims(high - low, -1) * steps


def _corners(at: Tensor, count: Tensor) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """The two cells around points (B, R, P) on an axis of ``count`` (B, R) cells, i32, and their weights."""
    end = ops.expand_dims(count, -1)
    inside = ops.cast((at >= -1) & (at <= ops.cast(end, "float32")), "float32")
    at = ops.clip(at, 0.0, ops.cast(end - 1, "float32"))
    first = ops.cast(ops.floor(at), "int32")
    second = ops.minimum(first + 1, end - 1)
    part = at - ops.cast(first, "float32")
    return (first, second), (inside * (1 - part), inside * part)
