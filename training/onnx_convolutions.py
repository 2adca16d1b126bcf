"""Convolutions in ONNX, with the batch normalisation after them folded in.

Keras keeps kernels as (kh, kw, in, out), those of transposed convolutions as (kh, kw, out, in); ONNX wants
(out, in, kh, kw) and (in, out, kh, kw).
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from training.layer_settings import ends_in_relu, no_translation, pads_of, transposed_pads_of
from training.onnx_graph import OnnxGraph

Array = npt.NDArray[np.float32]


def foldable_norms(model: keras.Model, nodes: list[Any]) -> dict[str, Any]:
    """The batch normalisations that alone read a linear convolution, by the name of that convolution."""
    readers: dict[int, list[Any]] = {id(output): [None] for output in model.outputs}
    for node in nodes:
        for tensor in node.input_tensors:
            readers.setdefault(id(tensor), []).append(node.operation)
    folded = {}
    for node in nodes:
        convolution, found = node.operation, readers.get(id(node.output_tensors[0]), [])
        linear = type(convolution) in (keras.layers.Conv2D, keras.layers.DepthwiseConv2D) and not ends_in_relu(
            convolution
        )
        if linear and len(found) == 1 and type(found[0]) is keras.layers.BatchNormalization:
            folded[convolution.name] = found[0]
    return folded


def convolution(graph: OnnxGraph, layer: Any, inputs: list[str]) -> str:
    """Conv2D."""
    kernel = np.asarray(layer.get_weights()[0], np.float32)  # (kh, kw, in, out)
    return _add_convolution(graph, layer, inputs[0], kernel.transpose(3, 2, 0, 1), groups=layer.groups)


def depthwise(graph: OnnxGraph, layer: Any, inputs: list[str]) -> str:
    """DepthwiseConv2D: as many groups as channels."""
    kernel = np.asarray(layer.get_weights()[0], np.float32)  # (kh, kw, in, multiplier)
    height, width, channels, multiplier = kernel.shape
    turned = kernel.transpose(2, 3, 0, 1).reshape(channels * multiplier, 1, height, width)
    return _add_convolution(graph, layer, inputs[0], turned, groups=channels)


def _add_convolution(graph: OnnxGraph, layer: Any, x: str, kernel: Array, groups: int) -> str:
    bias = np.asarray(layer.get_weights()[1], np.float32) if layer.use_bias else np.zeros(len(kernel), np.float32)
    norm = graph.folded.get(layer.name)
    if norm is not None:
        gain, shift = _affine_of(norm)
        kernel, bias = kernel * gain[:, None, None, None], bias * gain + shift
    window = {
        "kernel_shape": list(kernel.shape[2:]),
        "strides": list(layer.strides),
        "dilations": list(layer.dilation_rate),
        "pads": pads_of(layer),
        "group": groups,
    }
    return _add_weighted(graph, "Conv", layer, x, (kernel, bias), norm.name if norm is not None else None, window)


def transposed_convolution(graph: OnnxGraph, layer: Any, inputs: list[str]) -> str:
    """Conv2DTranspose."""
    if tuple(layer.dilation_rate) != (1, 1) or layer.output_padding is not None:
        raise no_translation(layer, "dilation or output padding")
    kernel = np.asarray(layer.get_weights()[0], np.float32).transpose(3, 2, 0, 1)  # (in, out, kh, kw)
    bias = np.asarray(layer.get_weights()[1], np.float32) if layer.use_bias else np.zeros(kernel.shape[1], np.float32)
    window = {
        "kernel_shape": list(layer.kernel_size),
        "strides": list(layer.strides),
        "pads": transposed_pads_of(layer),
    }
    return _add_weighted(graph, "ConvTranspose", layer, inputs[0], (kernel, bias), None, window)


def _add_weighted(
    graph: OnnxGraph,
    op: str,
    layer: Any,
    x: str,
    weights: tuple[Array, Array],
    name: str | None,
    window: dict[str, Any],
) -> str:
    """The operator and the ReLU in the layer, if there is one; ``name`` is its output's, by default the layer's."""
    relu = ends_in_relu(layer)
    names = [graph.constant(w, np.float32, f"{layer.name}.{part}") for w, part in zip(weights, ("w", "b"))]
    x = graph.add(op, [x, *names], name or (None if relu else layer.name), **window)
    return graph.add("Relu", [x], layer.name) if relu else x


def _affine_of(norm: Any) -> tuple[Array, Array]:
    if norm.axis not in (-1, 3):
        raise no_translation(norm, f"axis {norm.axis}")
    mean, variance = (np.asarray(w, np.float64) for w in (norm.moving_mean, norm.moving_variance))
    gain = 1 / np.sqrt(variance + norm.epsilon)
    if norm.scale:
        gain = gain * np.asarray(norm.gamma, np.float64)
    shift = -mean * gain
    if norm.center:
        shift = shift + np.asarray(norm.beta, np.float64)
    return gain.astype(np.float32), shift.astype(np.float32)


def batch_norm(graph: OnnxGraph, layer: Any, inputs: list[str]) -> str:
    """BatchNormalization: nothing where the convolution before it has taken it in."""
    if any(norm is layer for norm in graph.folded.values()):
        return inputs[0]
    gain, shift = _affine_of(layer)
    scaled = graph.add("Mul", [inputs[0], graph.constant(gain[:, None, None], np.float32)])
    return graph.add("Add", [scaled, graph.constant(shift[:, None, None], np.float32)], layer.name)
