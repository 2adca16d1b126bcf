"""The time that no implementation of a network can go below: its arithmetic and its memory traffic at the peak rates.

The multiplications are counted from the shapes that ONNX Runtime sees while it runs the graph as it is, once, on few
pixels; those of a convolutional network grow with the pixels.
"""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from perception.engines.contract import INPUT, read_spec
from perception.errors import EngineUnavailable
from perception.types import Size

# Dense fp16 with fp32 accumulation in TFLOP/s, memory in GB/s, from NVIDIA's data sheets; by part of the name.
PEAKS = {"H200": (989.0, 4800.0), "H100": (989.0, 3350.0), "A100": (312.0, 1555.0), "L40": (181.0, 864.0)}
PEAKS |= {"L4": (60.0, 300.0), "RTX 4090": (165.0, 1008.0), "A10": (62.0, 600.0), "T4": (65.0, 320.0)}
COUNTED: Size = (256, 256)  # at which a model without a fixed size is run to be counted
CONVOLUTIONS = ("Conv", "ConvTranspose")


def count_macs(model: Path, size: Size) -> float:
    """Multiplications with addition that the convolutions take for one frame of (w, h).

    Raises:
        ModelError: the model is missing or breaks the contract.
        EngineUnavailable: ONNX Runtime is not installed, or cannot run the graph.
    """
    import onnxruntime

    spec = read_spec(model)
    width, height = spec.fixed_size or COUNTED
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.enable_profiling = True
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    with tempfile.TemporaryDirectory(prefix="roadcast-count-") as folder:
        options.profile_file_prefix = str(Path(folder) / "run")
        try:
            session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
            session.run(None, {INPUT: np.zeros((spec.batch or 1, height, width, 3), np.uint8)})
        except Exception as error:  # onnxruntime's own errors have no common base
            raise EngineUnavailable(
                f"The operations of {model.name} cannot be counted: {error}".rstrip(".") + "."
            ) from error
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    nodes = [event["args"] for event in events if event.get("args", {}).get("op_name") in CONVOLUTIONS]
    macs = sum(_macs(node) for node in nodes)
    return macs / (spec.batch or 1) * (size[0] * size[1]) / (width * height)


def floor_ms(macs: float, weight_bytes: float, size: Size, batch: int, peak: tuple[float, float]) -> float | None:
    """Milliseconds for a batch; None where the peak (TFLOP/s, GB/s) is unknown.

    Memory is read or written once: weights, frames (3 bytes a pixel), labels and confidence (2, at full size).
    """
    tflops, gbps = peak
    if not tflops or not gbps:
        return None
    moved = weight_bytes + batch * size[0] * size[1] * 5
    return 1e3 * max(2 * macs * batch / (tflops * 1e12), moved / (gbps * 1e9))


def known_peak(gpu: str) -> tuple[float, float]:
    """TFLOP/s and GB/s of a GPU by its name; zeros where it is not in the table."""
    return next((peak for name, peak in PEAKS.items() if name in gpu), (0.0, 0.0))


def _macs(node: Mapping[str, Any]) -> int:
    """Of one convolution: every output value sums over the kernel and a group's channels; transposed, every input."""
    shapes: Sequence[Sequence[int]] = [next(iter(entry.values())) for entry in node["input_type_shape"]]
    output: Sequence[int] = next(iter(node["output_type_shape"][0].values()))
    values = output if node["op_name"] == "Conv" else shapes[0]
    return math.prod(values) * math.prod(shapes[1][1:])
