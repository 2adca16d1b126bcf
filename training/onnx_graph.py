"""Translate a functional Keras model into an ONNX graph, layer by layer.

The graph is what engines like best: NCHW, batch normalisation folded into the convolution before it,
padding and up-sampling by constants, so that height and width stay dynamic without a single shape
computation. It needs no TensorFlow: a model trained on any Keras backend is exported the same way.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from onnx import NodeProto, TensorProto, helper, numpy_helper

from perception.errors import ModelError

OPSET = 17
Array = npt.NDArray[np.float32]


class OnnxGraph:
    """Nodes and weights of a graph under construction; names are unique and follow the layers."""

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.weights: list[TensorProto] = []
        self.folded: dict[str, Any] = {}  # batch normalisation by the name of the convolution that takes it in
        self._count = 0

    def add(self, op: str, inputs: list[str], name: str | None = None, **attributes: Any) -> str:
        """Append a node with one output and return the name of that output."""
        self._count += 1
        output = name or f"{op.lower()}_{self._count}"
        self.nodes.append(helper.make_node(op, inputs, [output], name=f"node_{output}", **attributes))
        return output

    def constant(self, values: npt.ArrayLike, dtype: npt.DTypeLike, name: str | None = None) -> str:
        """Append a constant tensor and return its name."""
        self._count += 1
        name = name or f"constant_{self._count}"
        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(values, dtype), name))
        return name


def add_keras_model(graph: OnnxGraph, model: keras.Model, frame: str) -> list[str]:
    """Append ``model`` to ``graph``; ``frame`` is an f32 NCHW tensor. Returns the model's outputs, NCHW.

    Raises:
        ModelError: the model holds a layer, or a setting of one, that has no translation here.
    """
    if len(model.inputs) != 1:
        raise ModelError(f"The model takes {len(model.inputs)} inputs; one, the frame, can be exported.")
    nodes = _nodes_in_order(model)
    graph.folded |= _foldable_norms(model, nodes)
    values: dict[int, str] = {id(model.inputs[0]): frame}
    for node in nodes:
        translate = _TRANSLATIONS.get(type(node.operation))
        if translate is None:
            raise _no_translation(node.operation, "this kind of layer")
        inputs = [values[id(tensor)] for tensor in node.input_tensors]
        values[id(node.output_tensors[0])] = translate(graph, node.operation, inputs)
    return [values[id(output)] for output in model.outputs]


def _no_translation(layer: Any, what: str) -> ModelError:
    return ModelError(f"Layer {layer.name!r} ({type(layer).__name__}) cannot be exported: {what} has no translation.")


def _nodes_in_order(model: keras.Model) -> list[Any]:
    """The calls of the model's layers, each after the ones it depends on."""
    by_depth = model._nodes_by_depth
    nodes = [node for depth in sorted(by_depth, reverse=True) for node in by_depth[depth]]
    nodes = [node for node in nodes if not isinstance(node.operation, keras.layers.InputLayer)]
    names = [node.operation.name for node in nodes]
    for node in nodes:
        if names.count(node.operation.name) > 1:
            raise _no_translation(node.operation, "a layer that is used more than once")
    return nodes


def _foldable_norms(model: keras.Model, nodes: list[Any]) -> dict[str, Any]:
    """The batch normalisations that alone read a linear convolution, by the name of that convolution."""
    readers: dict[int, list[Any]] = {id(output): [None] for output in model.outputs}
    for node in nodes:
        for tensor in node.input_tensors:
            readers.setdefault(id(tensor), []).append(node.operation)
    folded = {}
    for node in nodes:
        convolution, found = node.operation, readers.get(id(node.output_tensors[0]), [])
        linear = type(convolution) in (keras.layers.Conv2D, keras.layers.DepthwiseConv2D) and not _ends_in_relu(
            convolution
        )
        if linear and len(found) == 1 and type(found[0]) is keras.layers.BatchNormalization:
            folded[convolution.name] = found[0]
    return folded


def _rescaling(graph: OnnxGraph, layer: Any, inputs: list[str]) -> str:
    scale, offset = (np.asarray(value, np.float32).reshape(-1, 1, 1) for value in (layer.scale, layer.offset))
    scaled = graph.add("Mul", [inputs[0], graph.constant(scale, np.float32)])
    return graph.add("Add", [scaled, graph.constant(offset, np.float32)], layer.name)


def _convolution(graph: OnnxGraph, layer: Any, inputs: list[str]) -> str:
    kernel = np.asarray(layer.get_weights()[0], np.float32)  # (kh, kw, in, out)
    return _add_convolution(graph, layer, inputs[0], kernel.transpose(3, 2, 0, 1), groups=layer.groups)


def _depthwise(graph: OnnxGraph, layer: Any, inputs: list[str]) -> str:
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
    weights = [
        graph.constant(kernel, np.float32, f"{layer.name}.w"),
        graph.constant(bias, np.float32, f"{layer.name}.b"),
    ]
    x = graph.add(
        "Conv",
        [x, *weights],
        norm.name if norm is not None else None if _ends_in_relu(layer) else layer.name,
        kernel_shape=list(kernel.shape[2:]),
        strides=list(layer.strides),
        dilations=list(layer.dilation_rate),
        pads=_pads(layer),
        group=groups,
    )
    return graph.add("Relu", [x], layer.name) if _ends_in_relu(layer) else x


def _pads(layer: Any) -> list[int]:
    """Explicit ONNX padding of a layer; 'same' at stride 2 is TensorFlow's for inputs of even size."""
    if layer.data_format != "channels_last":
        raise _no_translation(layer, layer.data_format)
    if layer.padding == "valid":
        return [0, 0, 0, 0]
    if max(layer.strides) > 2:
        raise _no_translation(layer, f"'same' padding at stride {max(layer.strides)}")
    window = layer.kernel_size if hasattr(layer, "kernel_size") else layer.pool_size
    dilation = getattr(layer, "dilation_rate", (1, 1))
    totals = [max(0, (k - 1) * d + 1 - s) for k, d, s in zip(window, dilation, layer.strides)]
    return [total // 2 for total in totals] + [total - total // 2 for total in totals]


def _ends_in_relu(layer: Any) -> bool:
    """Whether the layer ends in a ReLU; anything else but a linear end has no translation."""
    if layer.activation not in (keras.activations.linear, keras.activations.relu):
        raise _no_translation(layer, f"the activation {getattr(layer.activation, '__name__', layer.activation)!r}")
    return layer.activation is keras.activations.relu


def _affine_of(norm: Any) -> tuple[Array, Array]:
    if norm.axis not in (-1, 3):
        raise _no_translation(norm, f"axis {norm.axis}")
    mean, variance = (np.asarray(w, np.float64) for w in (norm.moving_mean, norm.moving_variance))
    gain = 1 / np.sqrt(variance + norm.epsilon)
    if norm.scale:
        gain = gain * np.asarray(norm.gamma, np.float64)
    shift = -mean * gain
    if norm.center:
        shift = shift + np.asarray(norm.beta, np.float64)
    return gain.astype(np.float32), shift.astype(np.float32)


def _batch_norm(graph: OnnxGraph, layer: Any, inputs: list[str]) -> str:
    if any(norm is layer for norm in graph.folded.values()):
        return inputs[0]  # the convolution before it has taken it in
    gain, shift = _affine_of(layer)
    scaled = graph.add("Mul", [inputs[0], graph.constant(gain[:, None, None], np.float32)])
    return graph.add("Add", [scaled, graph.constant(shift[:, None, None], np.float32)], layer.name)


def _relu(graph: OnnxGraph, layer: Any, inputs: list[str]) -> str:
    if layer.negative_slope or layer.threshold:
        raise _no_translation(layer, "a slope or threshold")
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
        raise _no_translation(layer, f"joining along axis {layer.axis}")
    return graph.add("Concat", inputs, layer.name, axis=1)


def _up_sampling(graph: OnnxGraph, layer: Any, inputs: list[str]) -> str:
    if layer.interpolation not in ("nearest", "bilinear"):
        raise _no_translation(layer, f"{layer.interpolation} interpolation")
    scales = graph.constant([1, 1, *layer.size], np.float32)
    mode = {"nearest": "nearest", "bilinear": "linear"}[layer.interpolation]
    how = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"} if mode == "nearest" else {}
    return graph.add("Resize", [inputs[0], "", scales], layer.name, mode=mode, **how)


def _average_pool(graph: OnnxGraph, layer: Any, inputs: list[str]) -> str:
    window = {"kernel_shape": list(layer.pool_size), "strides": list(layer.strides), "pads": _pads(layer)}
    return graph.add("AveragePool", inputs, layer.name, count_include_pad=0, **window)


def _global_average(graph: OnnxGraph, layer: Any, inputs: list[str]) -> str:
    if not layer.keepdims:
        raise _no_translation(layer, "keepdims=False")
    return graph.add("GlobalAveragePool", inputs, layer.name)


_TRANSLATIONS: dict[type, Callable[[OnnxGraph, Any, list[str]], str]] = {
    keras.layers.Rescaling: _rescaling,
    keras.layers.Conv2D: _convolution,
    keras.layers.DepthwiseConv2D: _depthwise,
    keras.layers.BatchNormalization: _batch_norm,
    keras.layers.ReLU: _relu,
    keras.layers.Add: _add,
    keras.layers.Concatenate: _concatenate,
    keras.layers.UpSampling2D: _up_sampling,
    keras.layers.AveragePooling2D: _average_pool,
    keras.layers.GlobalAveragePooling2D: _global_average,
}
