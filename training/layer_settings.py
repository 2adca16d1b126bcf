"""What the settings of a Keras layer mean in ONNX; a setting without a meaning there is refused."""

from __future__ import annotations

from typing import Any

import keras

from perception.errors import ModelError


def no_translation(layer: Any, what: str) -> ModelError:
    """The error for a layer, or a setting of one, that cannot be exported."""
    return ModelError(f"Layer {layer.name!r} ({type(layer).__name__}) cannot be exported: {what} has no translation.")


def check_channels_last(layer: Any) -> None:
    """Raise ModelError for a layer that reads (B, C, H, W)."""
    if layer.data_format != "channels_last":
        raise no_translation(layer, layer.data_format)


def window_of(layer: Any) -> tuple[int, int]:
    """Rows and columns of the kernel of a convolution or the window of a pooling layer."""
    height, width = layer.kernel_size if hasattr(layer, "kernel_size") else layer.pool_size
    return height, width


def pads_of(layer: Any) -> list[int]:
    """Explicit ONNX padding (top, left, bottom, right); 'same' at stride 2 is TensorFlow's for inputs of even size."""
    check_channels_last(layer)
    if layer.padding == "valid":
        return [0, 0, 0, 0]
    if max(layer.strides) > 2:
        raise no_translation(layer, f"'same' padding at stride {max(layer.strides)}")
    dilation = getattr(layer, "dilation_rate", (1, 1))
    return _halved([(k - 1) * d + 1 - s for k, d, s in zip(window_of(layer), dilation, layer.strides)])


def transposed_pads_of(layer: Any) -> list[int]:
    """What ONNX cuts off a transposed convolution; 'same' makes the output exactly stride times as large."""
    check_channels_last(layer)
    if layer.padding == "valid":
        return [0, 0, 0, 0]
    surplus = [k - s for k, s in zip(layer.kernel_size, layer.strides)]
    if min(surplus) < 0:
        raise no_translation(layer, "'same' padding with a stride beyond the kernel")
    return _halved(surplus)


def _halved(totals: list[int]) -> list[int]:
    """Padding per axis as (begin, begin, end, end); an odd pixel goes to the end, as in TensorFlow."""
    totals = [max(0, total) for total in totals]
    return [total // 2 for total in totals] + [total - total // 2 for total in totals]


def ends_in_relu(layer: Any) -> bool:
    """Whether the layer ends in a ReLU; anything else but a linear end has no translation."""
    if layer.activation not in (keras.activations.linear, keras.activations.relu):
        raise no_translation(layer, f"the activation {getattr(layer.activation, '__name__', layer.activation)!r}")
    return layer.activation is keras.activations.relu
