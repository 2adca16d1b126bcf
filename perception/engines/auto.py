"""Picks the engine that was measured to be fastest on machines like this one, and says why.

A light U-Net-shaped network of 3 M weights on two Zen 5 cores: OpenVINO in bf16 runs 1.4 times the frames
of ONNX Runtime, in fp32 0.93 times. So OpenVINO is worth its extra only where the CPU computes in bf16.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from perception.engines.engine import Engine
from perception.engines.mode import Device, Mode
from perception.engines.onnxruntime import OnnxRuntimeEngine, offers_cuda
from perception.engines.openvino import OpenVinoEngine, computes_in_bf16
from perception.errors import ModelError


def open_auto(path: Path, *, mode: Mode, threads: int | None, slots: int | None, device: Device) -> Engine:
    """ONNX Runtime on a GPU if its CUDA provider loads, else OpenVINO in bf16, else ONNX Runtime on the CPU.

    Where one of the first two is to be had here and fails, ``engine.fell_back`` is true.

    Raises:
        EngineUnavailable: what was picked is not installed.
        ModelError: the model is missing or damaged, or breaks the graph contract.
    """
    why_not_gpu = None
    if device == "cuda" or (device == "auto" and offers_cuda()):
        engine = OnnxRuntimeEngine(path, mode=mode, threads=threads, slots=slots, device=device)
        if engine.on_gpu:
            return _picked(engine)
        engine.close()
        why_not_gpu = "the CUDA provider of ONNX Runtime does not load here"
    failed, why = False, _why_not_openvino()
    if why is None:
        try:
            openvino = OpenVinoEngine(path, mode=mode, threads=threads, slots=slots)
        except ModelError as error:
            failed, why = True, f"OpenVINO cannot run this model ({error})"
        else:
            return _picked(openvino, why_not_gpu, fell_back=why_not_gpu is not None)
    return _picked(
        OnnxRuntimeEngine(path, mode=mode, threads=threads, slots=slots, device=device), why, fell_back=failed
    )


def _why_not_openvino() -> str | None:
    """Half a sentence, or None where OpenVINO is the better choice."""
    if find_spec("openvino") is None:
        return "OpenVINO is not installed"
    if not computes_in_bf16():
        return "this CPU has no bf16, without which OpenVINO is slower"
    return None


def _picked(engine: Engine, why: str | None = None, *, fell_back: bool = False) -> Engine:
    engine.fell_back = engine.fell_back or fell_back
    engine.reason = (
        f"auto picked {engine.reason}" if why is None else f"auto picked {engine.reason[:-1]}, because {why}."
    )
    return engine
