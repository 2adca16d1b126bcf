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
    values: dict[int, str] = {id(model.inputs[0]): frame}
    for operation in _in_order(model):
        if isinstance(operation, keras.layers.InputLayer):
            continue
        translate = _TRANSLATIONS.get(type(operation).__name__)
        if translate is None:
            raise ModelError(f"Layer {operation.name!r} ({type(operation).__name__}) has no ONNX translation.")
        node = operation._inbound_nodes[0]
        inputs = [values[id(tensor)] for tensor in node.input_tensors]
        values[id(node.output_tensors[0])] = translate(graph, operation, inputs)
    return [values[id(output)] for output in model.outputs]


def _in_order(model: keras.Model) -> list[Any]:
    """The model's operations, each after the ones it depends on."""
    by_depth = model._nodes_by_depth
    return [node.operation for depth in sorted(by_depth, reverse=True) for node in by_depth[depth]]


def _rescaling(graph: OnnxGraph, layer: Any, inputs: list[str]) -> str:
    scaled = graph.add("Mul", [inputs[0], graph.constant(layer.scale, np.float32)])
    return graph.add("Add", [scaled, graph.constant(layer.offset, np.float32)], layer.name)


def _convolution(graph: OnnxGraph, layer: Any, inputs: list[str]) -> str:
    kernel = np.asarray(layer.get_weights()[0], np.float32)  # (kh, kw, in, out)
    return _add_convolution(graph, layer, inputs[0], kernel.transpose(3, 2, 0, 1), groups=1)


def _depthwise(graph: OnnxGraph, layer: Any, inputs: list[str]) -> str:
    kernel = np.asarray(layer.get_weights()[0], np.float32)  # (kh, kw, in, multiplier)
    height, width, channels, multiplier = kernel.shape
    turned = kernel.transpose(2, 3, 0, 1).reshape(channels * multiplier, 1, height, width)
    return _add_convolution(graph, layer, inputs[0], turned, groups=channels)


def _add_convolution(graph: OnnxGraph, layer: Any, x: str, kernel: Array, groups: int) -> str:
    bias = np.asarray(layer.get_weights()[1], np.float32) if layer.use_bias else np.zeros(len(kernel), np.float32)
    norm = _following_norm(layer)
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
        norm.name if norm is not None else None if _activation(layer) else layer.name,
        kernel_shape=list(kernel.shape[2:]),
        strides=list(layer.strides),
        dilations=list(layer.dilation_rate),
        pads=_pads(layer),
        group=groups,
    )
    return graph.add("Relu", [x], layer.name) if _activation(layer) else x


def _pads(layer: Any) -> list[int]:
    """Explicit ONNX padding of a layer; 'same' at stride 2 is TensorFlow's for inputs of even size."""
    if layer.padding == "valid":
        return [0, 0, 0, 0]
    window = layer.kernel_size if hasattr(layer, "kernel_size") else layer.pool_size
    dilation = getattr(layer, "dilation_rate", (1, 1))
    totals = [max(0, (k - 1) * d + 1 - s) for k, d, s in zip(window, dilation, layer.strides)]
    return [total // 2 for total in totals] + [total - total // 2 for total in totals]


def _activation(layer: Any) -> bool:
    """Whether the layer ends in a ReLU; anything else but a linear end has no translation."""
    name = keras.activations.serialize(layer.activation)
    if name not in ("linear", "relu"):
        raise ModelError(f"Layer {layer.name!r} ends in {name}, which has no ONNX translation here.")
    return bool(name == "relu")


def _following_norm(layer: Any) -> Any | None:
    """The batch normalisation that is the only reader of this layer's output, if there is one."""
    readers = [node.operation for node in layer._outbound_nodes]
    if len(readers) == 1 and isinstance(readers[0], keras.layers.BatchNormalization) and not _activation(layer):
        return readers[0]
    return None


def _affine_of(norm: Any) -> tuple[Array, Array]:
    gamma, beta, mean, variance = (np.asarray(w, np.float64) for w in norm.get_weights())
    gain = gamma / np.sqrt(variance + norm.epsilon)
    return gain.astype(np.float32), (beta - mean * gain).astype(np.float32)


def _batch_norm(graph: OnnxGraph, layer: Any, inputs: list[str]) -> str:
    producer = layer._inbound_nodes[0].input_tensors[0]._keras_history.operation
    if hasattr(producer, "kernel_size") and _following_norm(producer) is layer:
        return inputs[0]  # already folded
    gain, shift = _affine_of(layer)
    scaled = graph.add("Mul", [inputs[0], graph.constant(gain[:, None, None], np.float32)])
    return graph.add("Add", [scaled, graph.constant(shift[:, None, None], np.float32)], layer.name)


def _relu(graph: OnnxGraph, layer: Any, inputs: list[str]) -> str:
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
        raise ModelError(f"Layer {layer.name!r} joins along axis {layer.axis}; only channels can be joined.")
    return graph.add("Concat", inputs, layer.name, axis=1)


def _up_sampling(graph: OnnxGraph, layer: Any, inputs: list[str]) -> str:
    scales = graph.constant([1, 1, *layer.size], np.float32)
    mode = {"nearest": "nearest", "bilinear": "linear"}[layer.interpolation]
    how = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"} if mode == "nearest" else {}
    return graph.add("Resize", [inputs[0], "", scales], layer.name, mode=mode, **how)


def _average_pool(graph: OnnxGraph, layer: Any, inputs: list[str]) -> str:
    window = {"kernel_shape": list(layer.pool_size), "strides": list(layer.strides), "pads": _pads(layer)}
    return graph.add("AveragePool", inputs, layer.name, count_include_pad=0, **window)


def _global_average(graph: OnnxGraph, layer: Any, inputs: list[str]) -> str:
    return graph.add("GlobalAveragePool", inputs, layer.name)


_TRANSLATIONS: dict[str, Callable[[OnnxGraph, Any, list[str]], str]] = {
    "Rescaling": _rescaling,
    "Conv2D": _convolution,
    "DepthwiseConv2D": _depthwise,
    "BatchNormalization": _batch_norm,
    "ReLU": _relu,
    "Add": _add,
    "Concatenate": _concatenate,
    "UpSampling2D": _up_sampling,
    "AveragePooling2D": _average_pool,
    "GlobalAveragePooling2D": _global_average,
}
