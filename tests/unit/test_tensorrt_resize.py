"""The kernels of prepare on the GPU, run on the CPU: byte for byte what OpenCV gives."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest
from kernel_on_cpu import compile_for_cpu, run_on_cpu

from perception.engines.tensorrt.nvrtc import compile_to_cubin
from perception.engines.tensorrt.resize import SOURCE, plan_resize
from perception.errors import EngineError
from perception.stages.prepare import prepare

POINTERS = {
    "resize_area": ["unsigned char"] * 2 + ["int", "int", "float"] * 2,
    "resize_whole": ["unsigned char"] * 2,
    "resize_linear": ["unsigned char"] * 2 + ["int"] * 4,
}
SIZES = [  # source, network, the kernel that this takes
    ((128, 72), (64, 36), "resize_whole"),
    ((192, 90), (64, 30), "resize_whole"),
    ((128, 120), (64, 30), "resize_whole"),
    ((1280, 720), (576, 320), "resize_area"),
    ((640, 360), (576, 320), "resize_area"),
    ((137, 91), (96, 64), "resize_area"),
    ((100, 64), (32, 64), "resize_area"),
    ((64, 36), (128, 64), "resize_linear"),
    ((50, 50), (160, 96), "resize_linear"),
    ((640, 50), (576, 320), "resize_linear"),
    ((33, 700), (64, 320), "resize_linear"),
]


@pytest.fixture(scope="module")
def kernels(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    return compile_for_cpu(
        SOURCE, {name: (types, 5) for name, types in POINTERS.items()}, tmp_path_factory.mktemp("kernels")
    )


@pytest.mark.parametrize(("source", "target", "kernel"), SIZES)
def test_gives_the_bytes_of_opencv(kernels, source, target, kernel):
    frames = np.random.default_rng(source[0]).integers(0, 256, (2, source[1], source[0], 3), dtype=np.uint8)
    plan = plan_resize(source, target)
    assert plan.kernel == kernel
    resized = np.zeros((2, target[1], target[0], 3), np.uint8)
    rows = 2 * target[1]
    numbers = [*source, *target, rows]
    run_on_cpu(kernels, kernel, (target[0], rows), [frames, resized, *plan.tables], numbers)
    for frame, found in zip(frames, resized):
        np.testing.assert_array_equal(found, prepare(frame, target))


@pytest.mark.parametrize("target", ["sm75", "sm89", "sm90", "sm120"])
def test_the_kernels_compile_for_every_gpu(target):
    pytest.importorskip("cuda.bindings.nvrtc", reason="the optional CUDA compiler NVRTC is not installed")
    cubin = compile_to_cubin(SOURCE, target)
    assert cubin.startswith(b"\x7fELF")
    assert all(f".text.{name}\0".encode() in cubin for name in POINTERS)


def test_a_kernel_that_does_not_compile_is_named():
    pytest.importorskip("cuda.bindings.nvrtc", reason="the optional CUDA compiler NVRTC is not installed")
    with pytest.raises(EngineError, match='identifier "nothing" is undefined'):
        compile_to_cubin('extern "C" __global__ void f(int *a) { a[0] = nothing; }', "sm89")
