"""A network on an NVIDIA GPU, timed by the device itself, and the copies to it and back."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np

from perception.engines.contract import read_spec
from perception.engines.tensorrt.cuda import Cuda
from perception.types import Size

COPIES = 200
SLOTS = 3
Shape = tuple[int, int, int, int]


def with_tensorrt(model: Path, size: Size, batch: int, seconds: float) -> dict[str, Any]:
    """The compiled network alone, by CUDA events around its graph, and within the engine; compiled if it is not yet.

    Raises:
        EngineUnavailable: there is no GPU, or no TensorRT.
    """
    from perception.bench.networks import end_to_end
    from perception.engines.tensorrt.build import Recipe
    from perception.engines.tensorrt.compile import compile_engine
    from perception.engines.tensorrt.library import load_library
    from perception.engines.tensorrt.network import load_network
    from perception.engines.tensorrt.open import open_engine_file
    from perception.engines.tensorrt.passport import load_checked
    from perception.engines.tensorrt.shapes import choose_shapes
    from perception.engines.tensorrt.timing import time_network

    library, device = load_library(), Cuda()
    shapes = choose_shapes(read_spec(model), f"{size[0]}x{size[1]}", str(batch))
    recipe = Recipe(device.gpu.target, shapes, is_current_gpu=True)
    compiled = compile_engine(library, model, recipe, gpu_name=device.gpu.name)
    shape = (batch, size[1], size[0], 3)
    network = load_network(library, load_checked(compiled.path, compiled.passport), compiled.path, compiled.passport)
    once = time_network(network, device, shape, 10)
    engine_ms = time_network(network, device, shape, max(10, round(seconds * 1000 / once)))
    network.close()
    engine = open_engine_file(compiled.path, slots=SLOTS)
    row = end_to_end(engine, shape, seconds)
    engine.close()
    return {"engine": f"{library} on {device.gpu}", "engine_ms": engine_ms, **row, **_device_figures(device, shape)}


def with_cuda_provider(model: Path, shape: Shape, seconds: float) -> dict[str, Any]:
    """ONNX Runtime's CUDA provider on device memory; replaces ``engine_ms``."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(model), providers=["CUDAExecutionProvider", "CPUExecutionProvider"])
    binding = session.io_binding()
    binding.bind_ortvalue_input("frame", onnxruntime.OrtValue.ortvalue_from_numpy(np.zeros(shape, np.uint8), "cuda", 0))
    for output in session.get_outputs():
        binding.bind_output(output.name, "cuda")
    taken = []
    until = time.perf_counter() + seconds + 1.0  # the first second warms up
    while time.perf_counter() < until:
        started = time.perf_counter()
        session.run_with_iobinding(binding)
        binding.synchronize_outputs()
        taken.append((time.perf_counter() - started) * 1e3)
    return {"engine_ms": float(np.median(taken)), **_device_figures(Cuda(), shape)}


def _device_figures(device: Cuda, shape: Shape) -> dict[str, Any]:
    return {**copies(device, shape), "clocks": _clocks()}


def copies(device: Cuda, shape: Shape) -> dict[str, float]:
    """Milliseconds to upload the frames and to download two maps of half their size, pinned, each alone."""
    stream, started, ended = device.stream(), device.event(), device.event()
    found: dict[str, float] = {}
    sizes = {"upload_ms": int(np.prod(shape)), "download_ms": 2 * shape[0] * shape[1] * shape[2] // 4}
    for name, size in sizes.items():
        memory, pointer = device.pinned(size), device.allocate(size)
        device.record(started, stream)
        for _ in range(COPIES):
            if name == "upload_ms":
                device.upload(pointer, memory, stream)
            else:
                device.download(memory, pointer, stream)
        device.record(ended, stream)
        device.wait(ended)
        found[name] = device.elapsed_ms(started, ended) / COPIES
        device.free(pointer)
        device.free_pinned(memory)
    device.destroy(streams=(stream,), events=(started, ended), graphs=())
    return found


def _clocks() -> str | None:
    """Clocks of the cores and the memory right after measuring, MHz, as nvidia-smi says; None without it."""
    command = ["nvidia-smi", "--query-gpu=clocks.sm,clocks.mem,clocks.max.sm", "--format=csv,noheader"]
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
