"""Examines all parts, and what follows from them."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from perception import __version__
from perception.doctor import gpu, libraries, machine
from perception.doctor.finding import Finding, examined

SINGLE: tuple[tuple[str, Callable[[], Finding]], ...] = (
    ("Python", libraries.check_python),
    ("OpenCV", libraries.check_opencv),
    ("PyAV", libraries.check_pyav),
    ("ZeroMQ", libraries.check_zeromq),
    ("ONNX Runtime", libraries.check_onnxruntime),
    ("OpenVINO", libraries.check_openvino),
    ("NVIDIA driver", gpu.check_driver),
    ("CUDA", gpu.check_cuda),
    ("CUDA compiler (NVRTC)", gpu.check_nvrtc),
    ("default model", machine.check_model),
    ("cache", machine.check_cache),
)


def examine(show: Callable[[str], None] = lambda _: None) -> list[Finding]:
    """Every part of this machine; ``show`` is told which one is being examined."""
    found = [Finding("roadcast", "ok", __version__, "the command that asks")]
    for part, check in SINGLE:
        show(f"examining: {part}")
        found.append(examined(part, check))
    show("examining: TensorRT")
    for several in (gpu.check_tensorrt, machine.check_cameras):
        found += several()
    return found


def broken(findings: Iterable[Finding]) -> list[Finding]:
    """What keeps a node from running, or is installed and fails."""
    return [finding for finding in findings if finding.verdict == "broken"]
