"""Compiles CUDA C++ when it is needed, with NVRTC. It needs no GPU, so every kernel is compiled in tests."""

from __future__ import annotations

import importlib
from typing import Any

from perception.errors import EngineError, EngineUnavailable


def compile_to_cubin(source: str, target: str) -> bytes:
    """Machine code for a GPU architecture such as ``sm89``.

    Not PTX: a driver older than NVRTC refuses that, while it takes machine code of any minor version of its CUDA.

    Products and sums are rounded one by one (no fused multiply-add), so that a kernel computes what a CPU computes.

    Raises:
        EngineUnavailable: NVRTC is not installed.
        EngineError: the source does not compile.
    """
    nvrtc = _library()
    options = [f"--gpu-architecture=sm_{target[2:]}".encode(), b"-fmad=false"]
    program = _value(nvrtc, nvrtc.nvrtcCreateProgram(source.encode(), b"roadcast.cu", 0, None, None))
    try:
        (code,) = nvrtc.nvrtcCompileProgram(program, len(options), options)
        if int(code):
            size = _value(nvrtc, nvrtc.nvrtcGetProgramLogSize(program))
            log = b" " * size
            nvrtc.nvrtcGetProgramLog(program, log)
            raise EngineError(f"NVRTC cannot compile a kernel for {target}: {log.decode(errors='replace').strip()}")
        cubin: bytes = b" " * _value(nvrtc, nvrtc.nvrtcGetCUBINSize(program))
        _value(nvrtc, nvrtc.nvrtcGetCUBIN(program, cubin))
        return cubin
    finally:
        nvrtc.nvrtcDestroyProgram(program)


def _library() -> Any:
    try:
        nvrtc = importlib.import_module("cuda.bindings.nvrtc")
        nvrtc.nvrtcVersion()
    except Exception as error:  # cuda-python or the compiler's own library is missing
        first_line = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise EngineUnavailable(
            f"The CUDA compiler NVRTC does not load ({first_line}). Install it with: pip install 'roadcast[tensorrt]'"
        ) from None
    return nvrtc


def _value(nvrtc: Any, answer: tuple[Any, ...]) -> Any:
    code, *values = answer
    if int(code):
        _, text = nvrtc.nvrtcGetErrorString(code)
        raise EngineError(f"NVRTC failed: {text.decode(errors='replace')}")
    return values[0] if values else None
