"""Averages of neighbouring logits, for label maps coarser than the network's logits.

The average of f x f outputs of a transposed convolution is a transposed convolution of stride s / f itself,
whose kernel is averaged likewise: the large map, most of which would be thrown away, is never computed.
"""

from __future__ import annotations

import numpy as np
from onnx import NodeProto, helper, numpy_helper

from training.onnx_graph import OnnxGraph


def shrink(graph: OnnxGraph, logits: str, factor: int) -> str:
    """Append the means of ``factor`` x ``factor`` neighbours of ``logits`` (N, C, h, w); returns their name."""
    node = next(node for node in graph.nodes if logits in node.output)
    if node.op_type == "ConvTranspose" and _divides(node, factor):
        _average_kernel(graph, node, factor)
        return logits
    window = [factor, factor]
    return graph.add("AveragePool", [logits], kernel_shape=window, strides=window)


def _divides(node: NodeProto, factor: int) -> bool:
    """Whether kernel, stride and padding all shrink by the factor without a remainder."""
    numbers = [n for attribute in node.attribute for n in helper.get_attribute_value(attribute)]
    return all(number % factor == 0 for number in numbers)


def _average_kernel(graph: OnnxGraph, node: NodeProto, factor: int) -> None:
    """With o = f m + t, taps K[o + p - s i] have the mean K'[m + p / f - (s / f) i], K'[j] = mean of K[f j + t]."""
    for attribute in node.attribute:
        attribute.ints[:] = [number // factor for number in attribute.ints]
    place = next(index for index, weight in enumerate(graph.weights) if weight.name == node.input[1])
    kernel = numpy_helper.to_array(graph.weights[place])
    inputs, outputs, height, width = kernel.shape
    parts = kernel.reshape(inputs, outputs, height // factor, factor, width // factor, factor)
    mean = np.ascontiguousarray(parts.mean(axis=(3, 5)), np.float32)
    graph.weights[place] = numpy_helper.from_array(mean, node.input[1])
