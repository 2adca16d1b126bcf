"""Pixels from channels and channels from pixels.

Shi et al. 2016, "Real-Time Single Image and Video Super-Resolution Using an Efficient Sub-Pixel Convolutional Neural
Network", section 2.2.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import layers, ops

Tensor = Any
Shape = tuple[int | None, ...]


@keras.saving.register_keras_serializable("roadcast")
class PixelShuffle(layers.Layer):  # type: ignore[misc]  # keras is untyped
    """(B, h, w, f * f * C) to (B, f h, f w, C): channel (i, j, c) is pixel (i, j) of a block, row by row."""

    def __init__(self, factor: int = 2, **options: Any) -> None:
        super().__init__(**options)
        self.factor = factor

    def call(self, x: Tensor) -> Tensor:
        """Interleave the channels."""
        batch, height, width, channels = ops.shape(x)
        f, depth = self.factor, channels // self.factor**2
        x = ops.transpose(ops.reshape(x, (batch, height, width, f, f, depth)), (0, 1, 3, 2, 4, 5))
        return ops.reshape(x, (batch, f * height, f * width, depth))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """``factor`` times the rows and columns."""
        batch, height, width, channels = input_shape
        f = self.factor
        return batch, height and f * height, width and f * width, channels and channels // f**2

    def get_config(self) -> dict[str, Any]:
        """What is needed to build this layer again."""
        return {**super().get_config(), "factor": self.factor}


@keras.saving.register_keras_serializable("roadcast")
class PixelUnshuffle(layers.Layer):  # type: ignore[misc]  # keras is untyped
    """(B, f h, f w, C) to (B, h, w, f * f * C): the inverse of :class:`PixelShuffle`."""

    def __init__(self, factor: int = 2, **options: Any) -> None:
        super().__init__(**options)
        self.factor = factor

    def call(self, x: Tensor) -> Tensor:
        """Gather each f x f block into one pixel."""
        batch, height, width, channels = ops.shape(x)
        f = self.factor
        x = ops.reshape(x, (batch, height // f, f, width // f, f, channels))
        return ops.reshape(ops.transpose(x, (0, 1, 3, 2, 4, 5)), (batch, height // f, width // f, f * f * channels))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Rows and columns divided by ``factor``."""
        batch, height, width, channels = input_shape
        f = self.factor
        return batch, height and height // f, width and width // f, channels and channels * f**2

    def get_config(self) -> dict[str, Any]:
        """What is needed to build this layer again."""
        return {**super().get_config(), "factor": self.factor}
