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
from onnx import ModelProto, NodeProto
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.calibrate import MinMaxCalibrater
from onnxruntime.transformers.float16 import convert_float_to_float16
from onnxruntime.transformers.onnx_model import OnnxModel

Frames = npt.NDArray[np.uint8]  # (1, H, W, 3), BGR at network size

# Activations beyond this share of the largest half (65504) stay f32: other frames may exceed those measured.
HALF_LIMIT = 65504 / 4
QUANTIZED = ("Conv", "ConvTranspose", "Add", "Concat", "Resize", "MaxPool", "AveragePool", "GlobalAveragePool")
_WEIGHTED = ("Conv", "ConvTranspose")


def to_half(model: ModelProto, network: Sequence[str], frames: Iterable[Frames]) -> tuple[ModelProto, list[str]]:
    """``model`` with weights and arithmetic in f16, and the nodes of ``network`` that had to stay f32.

    A node stays f32 where one of its inputs or outputs came beyond ``HALF_LIMIT`` on the frames.
    """
    largest = _largest_values(model, frames)
    inside = set(network)

    def overflows(node: NodeProto) -> bool:
        return any(not largest.get(name, 0.0) <= HALF_LIMIT for name in (*node.input, *node.output))

    kept = [node.name for node in model.graph.node if node.name in inside and overflows(node)]
    after = [node.name for node in model.graph.node if node.name not in inside]
    # Nothing is kept f32 by kind, as the library would otherwise do with Resize and others.
    half = convert_float_to_float16(model, keep_io_types=True, op_block_list=[], node_block_list=kept + after)
    OnnxModel(half).topological_sort()  # the casts were put at the end
    return half, kept


def to_int8(model: ModelProto, network: Sequence[str], frames: Iterable[Frames]) -> ModelProto:
    """``model`` with quantise/dequantise pairs: u8 activations, s8 weights, one scale for each output channel.

    The first convolution, which sees the frame, and the last, which gives the logits, stay f32: they hold
    few of the operations, and the labels most of the error.
    """
    inside = set(network)
    weighted = [node.name for node in model.graph.node if node.name in inside and node.op_type in _WEIGHTED]
    left_out = [node.name for node in model.graph.node if node.name not in inside] + [weighted[0], weighted[-1]]
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
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                nodes_to_exclude=left_out,
            )
        found = onnx.load(quantized)
    del found.metadata_props[:]
    found.metadata_props.extend(model.metadata_props)
    return found


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
    weights = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
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
