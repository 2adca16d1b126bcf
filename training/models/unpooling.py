"""Max pooling that remembers where each maximum stood, and its inverse (Zeiler & Fergus 2014; SegNet, 2017).

Written in plain operators (strided slices, comparisons, an interleave), which every backend trains and every
engine runs: pooling indices and their scatter are missing in several.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import layers, ops

Tensor = Any
Shape = tuple[int | None, ...]


@keras.saving.register_keras_serializable("roadcast")
class MaxPoolWithPlace(layers.Layer):  # type: ignore[misc]  # keras is untyped
    """x (B, H, W, C), even sides, to its maxima over 2x2 and their places, both (B, H/2, W/2, C).

    A place is 0 top left, 1 top right, 2 bottom left, 3 bottom right, in the type of ``x``; of equal values the
    first counts.
    """

    def call(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Maxima and places."""
        top_left, top_right, bottom_left, bottom_right = (x[:, i::2, j::2, :] for i in (0, 1) for j in (0, 1))
        top, bottom = ops.maximum(top_left, top_right), ops.maximum(bottom_left, bottom_right)
        column = ops.where(bottom > top, bottom_right > bottom_left, top_right > top_left)
        place = 2 * ops.cast(bottom > top, x.dtype) + ops.cast(column, x.dtype)
        return ops.maximum(top, bottom), ops.stop_gradient(place)

    def compute_output_shape(self, input_shape: Shape) -> tuple[Shape, Shape]:
        """Half the rows and columns, twice."""
        batch, height, width, channels = input_shape
        half = (batch, height and height // 2, width and width // 2, channels)
        return half, half


@keras.saving.register_keras_serializable("roadcast")
class MaxUnpool(layers.Layer):  # type: ignore[misc]  # keras is untyped
    """[x, places] (B, h, w, C) to (B, 2h, 2w, C): each value at its place in its 2x2 window, zeros elsewhere."""

    def call(self, inputs: list[Tensor]) -> Tensor:
        """Put the values back where the maxima came from."""
        x, place = inputs
        parts = [ops.where(place == corner, x, ops.zeros_like(x)) for corner in range(4)]
        rows = ops.stack([ops.stack(parts[:2], axis=3), ops.stack(parts[2:], axis=3)], axis=2)  # (B, h, 2, w, 2, C)
        batch, height, width, channels = ops.shape(x)
        return ops.reshape(rows, (batch, 2 * height, 2 * width, channels))

    def compute_output_shape(self, input_shape: list[Shape]) -> Shape:
        """Twice the rows and columns."""
        batch, height, width, channels = input_shape[0]
        return batch, height and 2 * height, width and 2 * width, channels
