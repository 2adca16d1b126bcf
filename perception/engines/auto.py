"""Picks the engine that is known to be fastest on this machine, and says why."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from perception.engines.engine import Engine
from perception.engines.mode import Device, Mode
from perception.engines.onnxruntime import OnnxRuntimeEngine
from perception.errors import EngineUnavailable, ModelError


def open_auto(path: Path, *, mode: Mode, threads: int | None, slots: int | None, device: Device) -> Engine:
    """ONNX Runtime on a GPU if its CUDA provider loads, else OpenVINO if installed, else ONNX Runtime.

    Raises:
        EngineUnavailable: neither library is installed.
        ModelError: the model is missing or damaged, or breaks the graph contract.
    """
    why_not = "OpenVINO is not installed"
    if not _has_cuda(device) and find_spec("openvino") is not None:
        from perception.engines.openvino import OpenVinoEngine

        try:
            engine: Engine = OpenVinoEngine(path, mode=mode, threads=threads, slots=slots)
        except (EngineUnavailable, ModelError) as error:
            why_not = f"OpenVINO cannot run it: {error}"
        else:
            engine.reason = f"auto picked {engine.reason}"
            return engine
    engine = OnnxRuntimeEngine(path, mode=mode, threads=threads, slots=slots, device=device)
    engine.reason = f"auto picked {engine.reason}" if _has_cuda(device) else f"auto picked {engine.reason} {why_not}"
    return engine


def _has_cuda(device: Device) -> bool:
    """Whether the GPU may be used and this ONNX Runtime was built for it."""
    if device == "cpu" or find_spec("onnxruntime") is None:
        return False
    import onnxruntime as ort

    return "CUDAExecutionProvider" in ort.get_available_providers()
