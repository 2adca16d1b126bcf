"""Precisions of an exported graph: half precision where numbers fit, and 8-bit integers.

Both are measured rather than assumed: the graph is run on calibration frames, and the range of every
tensor decides. ``network`` names the nodes of the network proper; what follows it, from the logits to the
u8 maps, stays f32, for a label must not change because two logits round to the same half.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.calibrate import MinMaxCalibrater

Frames = npt.NDArray[np.uint8]  # (1, H, W, 3), BGR at network size

# Activations beyond this share of the largest half (65504) stay f32: other frames may exceed those measured.
HALF_LIMIT = 65504 / 4
QUANTIZED = ("Conv", "ConvTranspose", "Add", "Concat", "Resize", "MaxPool", "AveragePool", "GlobalAveragePool")
_ALWAYS_FLOAT = {"Resize": (1, 2)}  # inputs that are f32 in every precision: region and scales
_WEIGHTED = ("Conv", "ConvTranspose")
_SYMMETRIC = {"ActivationSymmetric": True, "WeightSymmetric": True, "QuantizeBias": False}


def to_half(model: ModelProto, network: Sequence[str], frames: Iterable[Frames]) -> tuple[ModelProto, list[str]]:
    """``model`` with weights and arithmetic in f16, and the nodes of ``network`` that had to stay f32.

    A node stays f32 where one of its inputs or outputs came beyond ``HALF_LIMIT`` on the frames.
    """
    largest = _largest_values(model, frames)
    inside = set(network)

    def overflows(node: NodeProto) -> bool:
        return any(not largest.get(name, 0.0) <= HALF_LIMIT for name in (*node.input, *node.output))

    kept = [node.name for node in model.graph.node if node.name in inside and overflows(node)]
    return _with_half_nodes(model, inside - set(kept)), kept


def _with_half_nodes(model: ModelProto, halves: set[str]) -> ModelProto:
    """``model`` with these nodes in f16, and casts where a value passes between them and the others.

    Written out, because the converters at hand pass what lies between two f32 nodes on as f16.
    """
    graph, floats = model.graph, _float_tensors(model)
    weights = {tensor.name: tensor for tensor in graph.initializer}
    is_half: set[str] = set()  # tensors that are f16 where they are made
    nodes: dict[str, NodeProto] = {}  # by the name of the first output; casts come before what reads them
    for node in graph.node:
        half = node.name in halves
        for place, name in enumerate(node.input):
            if name not in floats or (half and place in _ALWAYS_FLOAT.get(node.op_type, ())):
                continue
            if half and name in weights:
                node.input[place] = f"{name}.f16"
                if f"{name}.f16" not in weights:
                    values = numpy_helper.to_array(weights[name]).astype(np.float16)
                    weights[f"{name}.f16"] = numpy_helper.from_array(values, f"{name}.f16")
            elif half != (name in is_half):
                node.input[place] = cast = f"{name}.f16" if half else f"{name}.f32"
                to = TensorProto.FLOAT16 if half else TensorProto.FLOAT
                nodes.setdefault(cast, helper.make_node("Cast", [name], [cast], name=f"cast_{cast}", to=to))
        if half:
            is_half |= floats & set(node.output)
            for attribute in node.attribute:
                if node.op_type == "Cast" and attribute.i == TensorProto.FLOAT:
                    attribute.i = TensorProto.FLOAT16
        nodes[node.output[0]] = node
    used = {name for node in nodes.values() for name in node.input}
    del graph.node[:], graph.initializer[:], graph.value_info[:]
    graph.node.extend(nodes.values())
    graph.initializer.extend(tensor for name, tensor in weights.items() if name in used)
    return model


def _float_tensors(model: ModelProto) -> set[str]:
    inferred = onnx.shape_inference.infer_shapes(model).graph
    values = [*inferred.value_info, *inferred.input, *inferred.output]
    found = {value.name for value in values if value.type.tensor_type.elem_type == TensorProto.FLOAT}
    return found | {tensor.name for tensor in inferred.initializer if tensor.data_type == TensorProto.FLOAT}


def to_int8(
    model: ModelProto, network: Sequence[str], frames: Iterable[Frames], *, symmetric: bool = False
) -> ModelProto:
    """``model`` with quantise/dequantise pairs: u8 activations, s8 weights, one scale for each output channel.

    The first convolution, which sees the frame, and the last of every head, which give logits and the like, stay
    f32: they hold few of the operations, and what they give most of the error.

    ``symmetric`` is what TensorRT takes: s8 activations around zero and biases in f32. ONNX Runtime then computes
    the convolutions in f32, which is why it is not the only form.
    """
    inside = set(network)
    weighted = [node.name for node in model.graph.node if node.name in inside and node.op_type in _WEIGHTED]
    outside = [node.name for node in model.graph.node if node.name not in inside]
    left_out = [*outside, weighted[0], *_last_weighted(model, inside)]
    with tempfile.TemporaryDirectory(prefix="roadcast-") as folder:
        plain, quantized = Path(folder) / "plain.onnx", Path(folder) / "int8.onnx"
        onnx.save(model, plain)
        with _quietly():
            quantize_static(
                plain,
                quantized,
                _Reader(frames),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=list(QUANTIZED),
                per_channel=True,
                activation_type=QuantType.QInt8 if symmetric else QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                nodes_to_exclude=left_out,
                extra_options=dict(_SYMMETRIC) if symmetric else {},
            )
        found = onnx.load(quantized)
    del found.metadata_props[:]
    found.metadata_props.extend(model.metadata_props)
    return found


def _last_weighted(model: ModelProto, network: set[str]) -> list[str]:
    """The convolutions of the network that no other convolution of it reads, by whatever way."""
    read_on: set[str] = set()  # tensors that come to a convolution
    last = []
    for node in reversed(model.graph.node):
        if node.name not in network:
            continue
        is_weighted, leads_on = node.op_type in _WEIGHTED, not read_on.isdisjoint(node.output)
        if is_weighted and not leads_on:
            last.append(node.name)
        if is_weighted or leads_on:
            read_on.update(node.input)
    return last


def _largest_values(model: ModelProto, frames: Iterable[Frames]) -> dict[str, float]:
    """The largest magnitude that each f32 tensor reached on the frames, and those of the weights."""
    with tempfile.TemporaryDirectory(prefix="roadcast-") as folder:
        plain = Path(folder) / "plain.onnx"
        onnx.save(model, plain)
        calibrater = MinMaxCalibrater(plain, augmented_model_path=str(Path(folder) / "augmented.onnx"))
        calibrater.augment_graph()
        calibrater.create_inference_session()
        calibrater.collect_data(_Reader(frames))
        ranges = calibrater.compute_data().items()
        found = {name: float(np.abs(np.asarray(data.range_value)).max()) for name, data in ranges}
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    return found | {name: float(np.abs(w).max()) for name, w in weights.items() if w.dtype == np.float32 and w.size}


@contextmanager
def _quietly() -> Iterator[None]:
    """Without the library's advice to prepare the graph, which is folded and typed already."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


class _Reader(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime is untyped
    """Feeds frames in the form that the library wants them."""

    def __init__(self, frames: Iterable[Frames]) -> None:
        self._frames: Iterator[Frames] = iter(frames)

    def get_next(self) -> dict[str, Any] | None:
        frame = next(self._frames, None)
        return None if frame is None else {"frame": frame}
