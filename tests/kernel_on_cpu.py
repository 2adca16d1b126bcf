"""Runs CUDA C++ kernels of one thread a pixel on the CPU, through the system's own compiler, for tests of them."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

_BEFORE = """
#include <math.h>
struct Index { int x, y; };
static Index blockIdx, threadIdx, blockDim = {1, 1};
#define __global__
"""
_AFTER = """
extern "C" void run_%(name)s(int columns, int lines, void **p, const int *n) {
    for (blockIdx.y = 0; blockIdx.y < lines; blockIdx.y++)
        for (blockIdx.x = 0; blockIdx.x < columns; blockIdx.x++)
            %(name)s(%(arguments)s);
}
"""


def compile_for_cpu(source: str, kernels: dict[str, tuple[list[str], int]], folder: Path) -> ctypes.CDLL:
    """A library of the kernels, skipping the test where there is no C++ compiler.

    Args:
        kernels: by name the C types that its pointers point to, and the count of its int arguments.
    """
    compiler = shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        pytest.skip("needs a C++ compiler to run CUDA kernels on the CPU: there is neither g++ nor clang++")
    text = _BEFORE + source
    for name, (types, count) in kernels.items():
        arguments = [f"({kind}*)p[{at}]" for at, kind in enumerate(types)] + [f"n[{at}]" for at in range(count)]
        text += _AFTER % {"name": name, "arguments": ", ".join(arguments)}
    file = folder / "kernels.cpp"
    file.write_text(text)
    library = folder / "kernels.so"
    command = [compiler, "-O1", "-ffp-contract=off", "-shared", "-fPIC", "-o", str(library), str(file)]
    subprocess.run(command, check=True, capture_output=True)
    return ctypes.CDLL(str(library))


def run_on_cpu(
    library: ctypes.CDLL, name: str, size: tuple[int, int], arrays: list[npt.NDArray[Any]], numbers: list[int]
) -> None:
    """Run a kernel once for every (x, y) below ``size``; it reads and writes the arrays themselves."""
    pointers = (ctypes.c_void_p * len(arrays))(*[array.ctypes.data for array in arrays])
    values = np.array(numbers, np.int32)
    getattr(library, f"run_{name}")(size[0], size[1], pointers, values.ctypes.data_as(ctypes.c_void_p))
