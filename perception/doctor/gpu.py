"""The NVIDIA side: driver, CUDA from Python, the CUDA compiler and the variants of TensorRT."""

from __future__ import annotations

import ctypes
import re
from pathlib import Path

from perception.doctor.finding import Finding, Verdict, installed
from perception.engines.tensorrt.cuda import find_gpu
from perception.engines.tensorrt.library import INSTALL, TITLES, Backend, Library, loadable
from perception.engines.tensorrt.nvrtc import compile_to_cubin
from perception.errors import RoadcastError

_NVIDIA = "0x10de"  # vendor on the PCI bus
_DISPLAY = "0x03"  # class of display controllers
_EXTRA = "pip install 'roadcast[tensorrt]'"
_KERNEL = 'extern "C" __global__ void nothing(int *a) { a[0] = 0; }'


def check_driver() -> Finding:
    """The NVIDIA driver: the kernel's part and the library that processes load."""
    part = "NVIDIA driver"
    version = driver_version()
    present = _cards()
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        if version:
            remedy = "In a container, start it with the NVIDIA container toolkit: docker run --gpus all ..."
            return Finding(part, "broken", version, "the kernel has it, but libcuda.so.1 cannot be loaded", remedy)
        if present:
            remedy = "Install NVIDIA's driver for it, and start the machine again."
            return Finding(part, "broken", None, f"{present} NVIDIA GPU on the bus, and no driver", remedy)
        return Finding(part, "absent", None, "no NVIDIA GPU is on the bus; the node computes on the CPU")
    if version is None:
        return Finding(part, "absent", None, "libcuda.so.1 is there, and no kernel driver: no GPU in this machine")
    return Finding(part, "ok", version, f"{present or 'no'} NVIDIA GPU on the bus")


def driver_version(file: Path = Path("/proc/driver/nvidia/version")) -> str | None:
    """What the kernel's NVIDIA module calls itself, None where it is not loaded."""
    try:
        text = file.read_text()
    except OSError:
        return None
    found = re.search(r"\b(\d{3,}\.\d+(?:\.\d+)?)\b", text)
    return found[1] if found else "of unknown version"


def _cards(bus: Path = Path("/sys/bus/pci/devices")) -> int:
    """NVIDIA display controllers on the PCI bus."""
    count = 0
    for device in bus.glob("*"):
        try:
            vendor, kind = (device / "vendor").read_text().strip(), (device / "class").read_text()
        except OSError:
            continue
        count += vendor == _NVIDIA and kind.startswith(_DISPLAY)
    return count


def check_cuda() -> Finding:
    """CUDA from Python, and the GPU it finds."""
    found = installed("cuda-python", "cuda-bindings")
    version = found[0][1] if found else None
    if version is None:
        return Finding("CUDA", "absent", None, "cuda-python is not installed; needed to run TensorRT engines", _EXTRA)
    try:
        gpu = find_gpu()
    except RoadcastError as error:
        verdict: Verdict = "broken" if driver_version() else "absent"
        return Finding("CUDA", verdict, version, str(error).rstrip("."), None if verdict == "absent" else _EXTRA)
    return Finding("CUDA", "ok", version, f"{gpu}, the driver knows CUDA up to {gpu.driver}")


def check_nvrtc() -> Finding:
    """The CUDA compiler, which needs no GPU: it compiles a kernel here."""
    found = installed("nvidia-cuda-nvrtc", "nvidia-cuda-nvrtc-cu13", "nvidia-cuda-nvrtc-cu12")
    version = found[0][1] if found else None
    try:
        compile_to_cubin(_KERNEL, "sm89")
    except RoadcastError as error:
        if version is None:
            detail = "not installed; without it frames are resized on the CPU"
            return Finding("CUDA compiler (NVRTC)", "absent", None, detail, _EXTRA)
        return Finding("CUDA compiler (NVRTC)", "broken", version, str(error), _EXTRA)
    return Finding("CUDA compiler (NVRTC)", "ok", version, "compiles")


def check_tensorrt() -> list[Finding]:
    """Both variants of TensorRT."""
    return [_variant(backend, found) for backend, found in loadable().items()]


def _variant(backend: Backend, found: Library | str) -> Finding:
    title = TITLES[backend]
    if isinstance(found, str):
        verdict: Verdict = "absent" if found == "is not installed" else "broken"
        return Finding(title, verdict, None, f"it {found}", INSTALL[backend])
    from perception.engines.tensorrt.build import targets

    known = targets(found)
    where = f"compiles here for {', '.join(known)}" if known else "compiles for the GPU at hand"
    return Finding(title, "ok", found.version, where)
