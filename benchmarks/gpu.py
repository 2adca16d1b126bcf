"""Networks on an NVIDIA GPU: the engine alone, end to end, copies, and the floor that arithmetic and memory set.

    python benchmarks/gpu.py MODEL.onnx... [--engine tensorrt|onnxruntime] [--size 1024x512,2048x1024] [--batch 1,4,8]
        [--seconds 3] [--tflops T --gbps G] [--out FILE]

*Engine alone* is the network from a CUDA graph, timed by CUDA events (ONNX Runtime: runs on device memory, by the
clock). *End to end* is the node's own engine: pinned copy, upload, network, download, ``slots`` batches at a time.
The floor is the larger of operations by peak rate and of weights, frames and maps by memory bandwidth.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import deque
from pathlib import Path

import numpy as np
import onnx
from onnx import shape_inference

from perception.bench.machine import hardware, software
from perception.engines.contract import read_spec
from perception.engines.engine import Engine
from perception.engines.onnxruntime import OnnxRuntimeEngine
from perception.engines.tensorrt.build import Recipe
from perception.engines.tensorrt.compile import compile_engine
from perception.engines.tensorrt.device import Cuda, find_gpu
from perception.engines.tensorrt.library import load_library
from perception.engines.tensorrt.network import load_network
from perception.engines.tensorrt.open import open_engine_file
from perception.engines.tensorrt.passport import load_checked
from perception.engines.tensorrt.shapes import choose_shapes
from perception.engines.tensorrt.timing import time_network
from perception.errors import RoadcastError
from perception.types import Size

# Dense fp16 with fp32 accumulation in TFLOP/s, memory in GB/s, from NVIDIA's data sheets; by part of the name.
PEAKS = {"H200": (989, 4800), "H100": (989, 3350), "A100": (312, 1555), "L40": (181, 864), "L4": (60, 300)}
PEAKS |= {"RTX 4090": (165, 1008), "A10": (62, 600), "T4": (65, 320)}
COPIES = 200
Figures = dict[str, object]


def main() -> int:
    """Measure every model at every size and batch; print a line each and write the JSON."""
    parser = argparse.ArgumentParser(description="Measure networks on an NVIDIA GPU.")
    parser.add_argument("models", nargs="+", type=Path, metavar="MODEL.onnx")
    parser.add_argument("--engine", choices=("tensorrt", "onnxruntime"), default="tensorrt")
    parser.add_argument("--size", default="1024x512", help="one or several, default: %(default)s")
    parser.add_argument("--batch", default="1,4,8", help="default: %(default)s")
    parser.add_argument("--slots", type=int, default=3, help="default: %(default)s")
    parser.add_argument("--seconds", type=float, default=3.0, help="for each figure, default: %(default)s")
    parser.add_argument("--tflops", type=float, help="peak of the GPU, where it is not known here")
    parser.add_argument("--gbps", type=float, help="its memory bandwidth")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    args = parser.parse_args()
    try:
        gpu = find_gpu()
    except RoadcastError as error:
        print(f"gpu.py: {error}", file=sys.stderr)
        return 2
    known = next((peak for name, peak in PEAKS.items() if name in gpu.name), (0.0, 0.0))
    peak = (args.tflops or known[0], args.gbps or known[1])
    rows: list[Figures] = []
    for model in args.models:
        for size in (tuple(map(int, text.split("x"))) for text in args.size.split(",")):
            for batch in map(int, args.batch.split(",")):
                measure = with_tensorrt if args.engine == "tensorrt" else with_onnxruntime
                row = measure(model, (size[0], size[1]), batch, args.slots, args.seconds)
                row |= floor(model, (size[0], size[1]), batch, peak)
                if row["floor_ms"]:
                    row["fraction_of_floor"] = float(str(row["floor_ms"])) / float(str(row["engine_ms"]))
                rows.append(row)
                print(" ".join(f"{key}={tidy(value)}" for key, value in row.items()), flush=True)
    if args.out:
        result = {
            "command": " ".join(["python", "benchmarks/gpu.py", *(Path(word).name for word in sys.argv[1:])]),
            "gpu": str(gpu),
            "cuda": gpu.driver,
            "peak_tflops_gbps": peak,
            "hardware": hardware(),
            "software": software(),
            "rows": rows,
        }
        args.out.write_text(json.dumps(result, indent=1) + "\n")
    return 0


def with_tensorrt(model: Path, size: Size, batch: int, slots: int, seconds: float) -> Figures:
    """The compiled network alone and within the engine; compiled here if it is not in the cache."""
    library, device = load_library(), Cuda()
    shapes = choose_shapes(read_spec(model), f"{size[0]}x{size[1]}", str(batch))
    recipe = Recipe(device.gpu.target, shapes, is_current_gpu=True)
    compiled = compile_engine(library, model, recipe, gpu_name=device.gpu.name)
    shape = (batch, size[1], size[0], 3)
    network = load_network(library, load_checked(compiled.path, compiled.passport), compiled.path, compiled.passport)
    once = time_network(network, device, shape, 10)
    engine_ms = time_network(network, device, shape, max(10, round(seconds * 1000 / once)))
    network.close()
    engine = open_engine_file(compiled.path, slots=slots)
    row = end_to_end(engine, shape, seconds)
    engine.close()
    return {**label(model, str(library), size, batch), "engine_ms": engine_ms, **row, **copies(device, shape)}


def with_onnxruntime(model: Path, size: Size, batch: int, slots: int, seconds: float) -> Figures:
    """ONNX Runtime's CUDA provider on device memory, and within the engine."""
    import onnxruntime

    shape = (batch, size[1], size[0], 3)
    engine = OnnxRuntimeEngine(model, mode="latency", device="cuda", slots=slots)
    session = onnxruntime.InferenceSession(str(model), providers=["CUDAExecutionProvider", "CPUExecutionProvider"])
    binding = session.io_binding()
    frames = onnxruntime.OrtValue.ortvalue_from_numpy(np.zeros(shape, np.uint8), "cuda", 0)
    binding.bind_ortvalue_input("frame", frames)
    for name in engine.spec.outputs:
        binding.bind_output(name, "cuda")
    taken = []
    until = time.perf_counter() + seconds + 1.0
    while time.perf_counter() < until:
        started = time.perf_counter()
        session.run_with_iobinding(binding)
        binding.synchronize_outputs()
        taken.append((time.perf_counter() - started) * 1e3)
    row = end_to_end(engine, shape, seconds)
    engine.close()
    library = f"ONNX Runtime {onnxruntime.__version__}"
    return {**label(model, library, size, batch), "engine_ms": float(np.median(taken)), **row, **copies(Cuda(), shape)}


def label(model: Path, library: str, size: Size, batch: int) -> Figures:
    """What a row is about."""
    spec = read_spec(model)
    return {
        "model": spec.id,
        "precision": spec.precision,
        "library": library,
        "size": f"{size[0]}x{size[1]}",
        "batch": batch,
    }


def end_to_end(engine: Engine, shape: tuple[int, int, int, int], seconds: float) -> Figures:
    """Frames a second with all slots in use, and the latency of a batch among them."""
    frames = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)
    for _ in range(10):
        engine.submit(frames).result()
    waiting: deque[tuple[float, object]] = deque()
    taken: list[float] = []
    started = time.perf_counter()
    while time.perf_counter() < started + seconds:
        if len(waiting) == engine.slots:
            begun, pending = waiting.popleft()
            pending.result()  # type: ignore[attr-defined]
            taken.append((time.perf_counter() - begun) * 1e3)
        waiting.append((time.perf_counter(), engine.submit(frames)))
    elapsed = time.perf_counter() - started
    for _, pending in waiting:
        pending.result()  # type: ignore[attr-defined]
    p50, p99 = np.percentile(taken, (50, 99))
    return {"end_to_end_fps": len(taken) * shape[0] / elapsed, "p50_ms": float(p50), "p99_ms": float(p99)}


def copies(device: Cuda, shape: tuple[int, int, int, int]) -> Figures:
    """Milliseconds to upload the frames and to download two maps of half their size, pinned, each alone."""
    stream, started, ended = device.stream(), device.event(), device.event()
    found: Figures = {}
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


def floor(model: Path, size: Size, batch: int, peak: tuple[float, float]) -> Figures:
    """Operations of the convolutions and the time that no implementation can go below; 0 where the peak is unknown."""
    graph = onnx.load(model)
    for dimension, length in zip(graph.graph.input[0].type.tensor_type.shape.dim, (batch, size[1], size[0], 3)):
        dimension.dim_value = length
    for output in graph.graph.output:
        output.type.tensor_type.ClearField("shape")
    inferred = shape_inference.infer_shapes(graph).graph
    shapes = {
        info.name: [dimension.dim_value for dimension in info.type.tensor_type.shape.dim]
        for info in (*inferred.value_info, *inferred.input, *inferred.output)
    }
    weights = {tensor.name: list(tensor.dims) for tensor in inferred.initializer}
    shapes |= weights
    operations = 0
    for node in inferred.node:
        if node.op_type in ("Conv", "ConvTranspose"):
            # Conv: every output value sums over the kernel and a group's channels; ConvTranspose mirrors it.
            values = shapes[node.output[0] if node.op_type == "Conv" else node.input[0]]
            operations += 2 * int(np.prod(values)) * int(np.prod(shapes[node.input[1]][1:]))
    moved = 2 * sum(int(np.prod(dims)) for dims in weights.values()) + batch * size[0] * size[1] * 5
    seconds = max(operations / (peak[0] * 1e12), moved / (peak[1] * 1e9)) if all(peak) else 0.0
    return {"gflop": operations / 1e9, "floor_ms": seconds * 1e3}


def tidy(value: object) -> str:
    """A figure for a line of text."""
    return f"{value:.3f}" if isinstance(value, float) else str(value).replace(" ", "_")


if __name__ == "__main__":
    sys.exit(main())
