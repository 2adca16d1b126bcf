"""Every other kind of layer in ONNX, and which function translates which kind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from onnx import TensorProto

from training.layer_settings import check_channels_last, no_translation, pads_of
from training.models.blocks import CropLike, SavedDropout
from training.models.subpixel import PixelShuffle, PixelUnshuffle
from training.models.unpooling import MaxPoolWithPlace, MaxUnpool
from training.onnx_convolutions import batch_norm, convolution, depthwise, transposed_convolution
from training.onnx_graph import OnnxGraph

_TO_THE_END = 2**31 - 1
_ROWS, _COLUMNS = 2, 3  # axes of NCHW


def translate(graph: OnnxGraph, layer: Any, inputs: list[str]) -> list[str]:
    """Append the nodes of one layer and return the names of its outputs.

    Raises:
        ModelError: the layer, or a setting of it, has no translation here.
    """
    translation = _TRANSLATIONS.get(type(layer))
    if translation is None:
        raise no_translation(layer, "this kind of layer")
    outputs = translation(graph, layer, inputs)
    return [outputs] if isinstance(outputs, str) else outputs


def _rescaling(graph: OnnxGraph, layer: Any, inputs: list[str]) -> str:
    scale, offset = (np.asarray(value, np.float32).reshape(-1, 1, 1) for value in (layer.scale, layer.offset))
    scaled = graph.add("Mul", [inputs[0], graph.constant(scale, np.float32)])
    return graph.add("Add", [scaled, graph.constant(offset, np.float32)], layer.name)


def _relu(graph: OnnxGraph, layer: Any, inputs: list[str]) -> str:
    if layer.negative_slope or layer.threshold:
        raise no_translation(layer, "a slope or threshold")
    if layer.max_value is None:
        return graph.add("Relu", inputs, layer.name)
    bounds = [graph.constant(0.0, np.float32), graph.constant(float(layer.max_value), np.float32)]
    return graph.add("Clip", [*inputs, *bounds], layer.name)


def _add(graph: OnnxGraph, _layer: Any, inputs: list[str]) -> str:
    total = inputs[0]
    for other in inputs[1:]:
        total = graph.add("Add", [total, other])
    return total


def _concatenate(graph: OnnxGraph, layer: Any, inputs: list[str]) -> str:
    if layer.axis not in (-1, 3):
        raise no_translation(layer, f"joining along axis {layer.axis}")
    return graph.add("Concat", inputs, layer.name, axis=1)


def _up_sampling(graph: OnnxGraph, layer: Any, inputs: list[str]) -> str:
    if layer.interpolation not in ("nearest", "bilinear"):
        raise no_translation(layer, f"{layer.interpolation} interpolation")
    scales = graph.constant([1, 1, *layer.size], np.float32)
    mode = {"nearest": "nearest", "bilinear": "linear"}[layer.interpolation]
    how = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"} if mode == "nearest" else {}
    return graph.add("Resize", [inputs[0], "", scales], layer.name, mode=mode, **how)


def _average_pool(graph: OnnxGraph, layer: Any, inputs: list[str]) -> str:
    window = {"kernel_shape": list(layer.pool_size), "strides": list(layer.strides), "pads": pads_of(layer)}
    return graph.add("AveragePool", inputs, layer.name, count_include_pad=0, **window)


def _global_average(graph: OnnxGraph, layer: Any, inputs: list[str]) -> str:
    if not layer.keepdims:
        raise no_translation(layer, "keepdims=False")
    return graph.add("GlobalAveragePool", inputs, layer.name)


def _max_pool(graph: OnnxGraph, layer: Any, inputs: list[str]) -> str:
    window = {"kernel_shape": list(layer.pool_size), "strides": list(layer.strides), "pads": pads_of(layer)}
    return graph.add("MaxPool", inputs, layer.name, **window)


def _pixel_shuffle(graph: OnnxGraph, layer: Any, inputs: list[str]) -> str:
    return graph.add("DepthToSpace", inputs, layer.name, blocksize=layer.factor, mode="DCR")


def _pixel_unshuffle(graph: OnnxGraph, layer: Any, inputs: list[str]) -> str:
    return graph.add("SpaceToDepth", inputs, layer.name, blocksize=layer.factor)


def _max_pool_with_place(graph: OnnxGraph, layer: Any, inputs: list[str]) -> list[str]:
    """As the layer computes it. ONNX has indices of MaxPool, but only ONNX Runtime has MaxUnpool to go with them."""
    corners = graph.add("SpaceToDepth", inputs, blocksize=2)
    top_left, top_right, bottom_left, bottom_right = graph.split(corners, 4, axis=1)
    top, bottom = graph.add("Max", [top_left, top_right]), graph.add("Max", [bottom_left, bottom_right])
    right = [
        graph.add("Cast", [graph.add("Greater", pair)], to=TensorProto.FLOAT)
        for pair in ([top_right, top_left], [bottom_right, bottom_left])
    ]
    below = graph.add("Add", [right[1], graph.constant(2.0, np.float32)])
    place = graph.add("Where", [graph.add("Greater", [bottom, top]), below, right[0]], f"{layer.name}_place")
    return [graph.add("Max", [top, bottom], layer.name), place]


def _max_unpool(graph: OnnxGraph, layer: Any, inputs: list[str]) -> str:
    x, place = inputs
    zero = graph.constant(0.0, np.float32)
    here = [graph.add("Equal", [place, graph.constant(float(corner), np.float32)]) for corner in range(4)]
    parts = [graph.add("Where", [mask, x, zero]) for mask in here]
    return graph.add("DepthToSpace", [graph.add("Concat", parts, axis=1)], layer.name, blocksize=2, mode="DCR")


def _cropping(graph: OnnxGraph, layer: Any, inputs: list[str]) -> str:
    check_channels_last(layer)
    (top, bottom), (left, right) = layer.cropping
    ends = [-bottom if bottom else _TO_THE_END, -right if right else _TO_THE_END]
    bounds = [graph.constant(values, np.int64) for values in ([top, left], ends, [_ROWS, _COLUMNS])]
    return graph.add("Slice", [*inputs, *bounds], layer.name)


def _nothing(_graph: OnnxGraph, _layer: Any, inputs: list[str]) -> str:
    """Dropout acts in training alone; CropLike cuts nothing off sizes that the model card allows."""
    return inputs[0]


_TRANSLATIONS: dict[type, Callable[[OnnxGraph, Any, list[str]], str | list[str]]] = {
    keras.layers.Rescaling: _rescaling,
    keras.layers.Conv2D: convolution,
    keras.layers.DepthwiseConv2D: depthwise,
    keras.layers.BatchNormalization: batch_norm,
    keras.layers.ReLU: _relu,
    keras.layers.Add: _add,
    keras.layers.Concatenate: _concatenate,
    keras.layers.UpSampling2D: _up_sampling,
    keras.layers.AveragePooling2D: _average_pool,
    keras.layers.GlobalAveragePooling2D: _global_average,
    keras.layers.Conv2DTranspose: transposed_convolution,
    keras.layers.MaxPooling2D: _max_pool,
    keras.layers.Cropping2D: _cropping,
    keras.layers.Dropout: _nothing,
    MaxPoolWithPlace: _max_pool_with_place,
    MaxUnpool: _max_unpool,
    PixelShuffle: _pixel_shuffle,
    PixelUnshuffle: _pixel_unshuffle,
    SavedDropout: _nothing,
    CropLike: _nothing,
}
