"""Compiles CUDA C++ when it is needed, with NVRTC. It needs no GPU, so every kernel is compiled in tests."""

from __future__ import annotations

import importlib
from typing import Any

from perception.errors import EngineError, EngineUnavailable


def compile_to_ptx(source: str, target: str) -> bytes:
    """PTX for a GPU architecture such as ``sm89``.

    Products and sums are rounded one by one (no fused multiply-add), so that a kernel computes what a CPU computes.

    Raises:
        EngineUnavailable: NVRTC is not installed.
        EngineError: the source does not compile.
    """
    nvrtc = _library()
    options = [f"--gpu-architecture=compute_{target[2:]}".encode(), b"-fmad=false"]
    program = _value(nvrtc, nvrtc.nvrtcCreateProgram(source.encode(), b"roadcast.cu", 0, None, None))
    try:
        (code,) = nvrtc.nvrtcCompileProgram(program, len(options), options)
        if int(code):
            size = _value(nvrtc, nvrtc.nvrtcGetProgramLogSize(program))
            log = b" " * size
            nvrtc.nvrtcGetProgramLog(program, log)
            raise EngineError(f"NVRTC cannot compile a kernel for {target}: {log.decode(errors='replace').strip()}")
        ptx: bytes = b" " * _value(nvrtc, nvrtc.nvrtcGetPTXSize(program))
        _value(nvrtc, nvrtc.nvrtcGetPTX(program, ptx))
        return ptx
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
