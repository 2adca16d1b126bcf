"""What a network costs and at what size it answers, read off its layers."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import keras
from keras import layers

from perception.errors import ModelError
from perception.types import Size
from training.models.nodes import nodes_in_order

Shape = tuple[int, ...]


def count_flops(model: keras.Model, size: Size) -> int:
    """Floating-point operations of one frame of (w, h): 2 for each multiplication of a convolution.

    Normalisation (folded at export), activations, pooling and sums are not counted, as is usual.
    """
    return sum(2 * _multiplications(layer, before, after) for layer, before, after in _shapes(model, size))


def _multiplications(layer: Any, before: Shape, after: Shape) -> int:
    factors: tuple[int, ...] = (0,)
    if isinstance(layer, layers.Conv2DTranspose):  # every input pixel is multiplied with the whole kernel
        factors = (*before[1:3], *layer.kernel.shape)
    elif isinstance(layer, layers.DepthwiseConv2D):
        factors = (*after[1:], *layer.kernel_size)
    elif isinstance(layer, layers.Conv2D):  # its kernel has the input channels of one group
        factors = (*after[1:3], *layer.kernel.shape)
    return math.prod(factors)


def logits_size(model: keras.Model, size: Size) -> Size:
    """(w, h) of the first output for a frame of (w, h)."""
    last = model.outputs[0]._keras_history.operation
    height, width = next(after for layer, _, after in _shapes(model, size) if layer is last)[1:3]
    return width, height


def logits_stride(model: keras.Model) -> int:
    """Frame pixels per pixel of the first output, 1, 2, 4 ...

    Raises:
        ModelError: the output does not divide the frame evenly, as that of a U-Net with "valid" padding.
    """
    side = 512
    try:
        width, height = logits_size(model, (side, side))
    except ValueError as error:
        raise ModelError(f"{model.name!r} takes no frame of {side}x{side}: {error}.") from None
    if width != height or side % width:
        raise ModelError(
            f"{model.name!r} gives {width}x{height} logits for a {side}x{side} frame: no even "
            "part, so that labels would not lie on the frame. Pad its convolutions ('same')."
        )
    return side // width


def _shapes(model: keras.Model, size: Size) -> Iterator[tuple[Any, Shape, Shape]]:
    """(layer, shape of its first input, shape of its first output) for a frame of (w, h)."""
    shapes: dict[int, Shape] = {id(model.inputs[0]): (1, size[1], size[0], 3)}
    for node in nodes_in_order(model):
        before = [shapes[id(tensor)] for tensor in node.input_tensors]
        after = node.operation.compute_output_shape(before[0] if len(before) == 1 else before)
        several = isinstance(after[0], tuple)
        for tensor, shape in zip(node.output_tensors, after if several else [after]):
            shapes[id(tensor)] = shape
        yield node.operation, before[0], after[0] if several else after
