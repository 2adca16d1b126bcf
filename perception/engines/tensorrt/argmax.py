"""Rewrites the argmax of a parsed network into operators that TensorRT fuses.

TensorRT makes TopK of ONNX's ArgMax: the logits are transposed in memory and sorted by a kernel of its own. Written as

    m = max(x);   label = min over classes of (class number where x == m, else the last)

it becomes part of the kernel that computes the confidence, which reads the same logits for the same maximum: one
pass over them instead of three (docs/engines.md shows both). Of equal logits the first wins, as in ArgMax.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from perception.engines.tensorrt.library import Library


def rewrite_argmax(library: Library, network: Any) -> list[npt.NDArray[Any]]:
    """Replace every TopK that only picks the largest and of which only the index is used.

    Returns:
        Constants that have to outlive the build.
    """
    kept: list[npt.NDArray[Any]] = []
    layers = [network.get_layer(at) for at in range(network.num_layers)]
    for layer in layers:
        if layer.type != library.module.LayerType.TOPK:
            continue
        layer.__class__ = library.module.ITopKLayer
        logits, values, indices = layer.get_input(0), layer.get_output(0), layer.get_output(1)
        axis = layer.axes.bit_length() - 1
        is_argmax = layer.k == 1 and layer.op == library.module.TopKOperation.MAX
        if is_argmax and logits.shape[axis] > 0 and not _users(layers, values):
            label = _first_largest(library, network, logits, axis, indices.dtype, kept)
            for user, at in _users(layers, indices):
                user.set_input(at, label)
    return kept


def _users(layers: list[Any], tensor: Any) -> list[tuple[Any, int]]:
    """Every layer that reads the tensor, and as which of its inputs."""
    return [
        (layer, at)
        for layer in layers
        for at in range(layer.num_inputs)
        if layer.get_input(at) is not None and layer.get_input(at).name == tensor.name
    ]


def _first_largest(
    library: Library, network: Any, logits: Any, axis: int, dtype: Any, kept: list[npt.NDArray[Any]]
) -> Any:
    """The index of the largest value along one axis, which stays with length 1; of several equal ones the first."""
    trt = library.module
    classes, rank = logits.shape[axis], len(logits.shape)
    shape = [1] * rank
    shape[axis] = classes
    numbers = np.arange(classes, dtype=np.float32).reshape(shape)
    last = np.full([1] * rank, classes - 1, np.float32)
    kept += [numbers, last]
    largest = network.add_reduce(logits, trt.ReduceOperation.MAX, 1 << axis, True).get_output(0)
    is_largest = network.add_elementwise(logits, largest, trt.ElementWiseOperation.EQUAL).get_output(0)
    candidates = network.add_select(
        is_largest, *(network.add_constant(one.shape, trt.Weights(one)).get_output(0) for one in (numbers, last))
    ).get_output(0)
    first = network.add_reduce(candidates, trt.ReduceOperation.MIN, 1 << axis, True).get_output(0)
    return network.add_cast(first, dtype).get_output(0)
