"""Networks at several sizes and batches: the engine alone next to the engine as the node uses it, and the floor."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from perception.bench.floor import count_macs, floor_ms, known_peak
from perception.bench.machine import hardware, software
from perception.engines.contract import read_spec
from perception.engines.engine import Engine, Pending
from perception.engines.open import open_engine
from perception.errors import ConfigError
from perception.types import Size

SCHEMA = "roadcast-bench-networks"
ENGINES = ("onnxruntime", "openvino", "tensorrt")
WARM_UP = 3  # batches
LEAST = 5  # batches of a figure, however long they take
Row = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworksWish:
    """What is to be measured; ``peak`` is TFLOP/s and GB/s, 0 for what is known of the GPU."""

    model: Path
    engine: str
    sizes: Sequence[Size]
    batches: Sequence[int]
    seconds: float  # for each figure
    peak: tuple[float, float]
    command: str


def bench_networks(wish: NetworksWish, show: Callable[[str], None]) -> dict[str, Any]:
    """Measure every size at every batch; the result as JSON knows values.

    Raises:
        ConfigError: an engine or a size that this does not measure.
        EngineUnavailable, ModelError, ShapeError, EngineError: from the engine.
    """
    if wish.engine not in ENGINES:
        raise ConfigError(f"--batch measures a network with {', '.join(ENGINES)}; got --engine {wish.engine!r}.")
    spec, machine = read_spec(wish.model), hardware()
    _check_sizes(spec.fixed_size, spec.multiple, wish.sizes)
    known = known_peak(" ".join(map(str, machine["gpus"])) if isinstance(machine["gpus"], list) else "")
    peak = wish.peak[0] or known[0], wish.peak[1] or known[1]
    rows: list[Row] = []
    for size in wish.sizes:
        show(f"counting operations at {size[0]}x{size[1]}")
        macs = count_macs(wish.model, size)
        for batch in wish.batches:
            show(f"{size[0]}x{size[1]}, batch {batch}")
            row = {"size": f"{size[0]}x{size[1]}", "batch": batch, **measure(wish, size, batch)}
            least = floor_ms(macs, wish.model.stat().st_size, size, batch, peak)
            row |= {"gflop": 2 * macs * batch / 1e9, "floor_ms": least}
            row["fraction_of_floor"] = least / row["engine_ms"] if least else None
            rows.append(row)
    return {
        "schema": SCHEMA,
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "command": wish.command,
        "machine": machine,
        "software": software(),
        "model": {"id": spec.id, "sha256": spec.sha256, "precision": spec.precision},
        "engine": wish.engine,
        "peak_tflops_gbps": peak if all(peak) else None,
        "rows": rows,
    }


def measure(wish: NetworksWish, size: Size, batch: int) -> Row:
    """The figures of one size and batch."""
    shape = batch, size[1], size[0], 3
    if wish.engine == "tensorrt":
        from perception.bench.gpu_networks import with_tensorrt

        return with_tensorrt(wish.model, size, batch, wish.seconds)
    with closing(open_engine(wish.engine, wish.model, mode="latency")) as engine:
        row: Row = {"engine": engine.reason, "engine_ms": alone_ms(engine, shape, wish.seconds)}
    if "CUDA" in row["engine"]:
        from perception.bench.gpu_networks import with_cuda_provider

        row |= with_cuda_provider(wish.model, shape, wish.seconds)
    with closing(open_engine(wish.engine, wish.model, mode="throughput")) as engine:
        return {**row, **end_to_end(engine, shape, wish.seconds)}


def alone_ms(engine: Engine, shape: tuple[int, int, int, int], seconds: float) -> float:
    """The median time from submit to result, one batch at a time, by the clock."""
    frames = _frames(shape)
    for _ in range(WARM_UP):
        engine.submit(frames).result()
    taken: list[float] = []
    ends = time.perf_counter() + seconds
    while len(taken) < LEAST or time.perf_counter() < ends:
        began = time.perf_counter()
        engine.submit(frames).result()
        taken.append((time.perf_counter() - began) * 1e3)
    return float(np.median(taken))


def end_to_end(engine: Engine, shape: tuple[int, int, int, int], seconds: float) -> Row:
    """Frames a second with all slots in use, as in the node, and the latency of a batch among them."""
    frames = _frames(shape)
    for _ in range(WARM_UP):
        engine.submit(frames).result()
    waiting: deque[tuple[float, Pending]] = deque()
    taken: list[float] = []
    started = time.perf_counter()
    while len(taken) < LEAST or time.perf_counter() < started + seconds:
        if len(waiting) == engine.slots:
            began, pending = waiting.popleft()
            pending.result()
            taken.append((time.perf_counter() - began) * 1e3)
        waiting.append((time.perf_counter(), engine.submit(frames)))
    elapsed = time.perf_counter() - started
    for _, pending in waiting:
        pending.result()
    p50, p99 = np.percentile(taken, (50, 99)).tolist()
    fps = len(taken) * shape[0] / elapsed
    return {"slots": engine.slots, "end_to_end_fps": fps, "p50_ms": p50, "p99_ms": p99}


def networks_table(result: dict[str, Any]) -> str:
    """The rows for a terminal."""
    columns = (
        "engine_ms",
        "end_to_end_fps",
        "p50_ms",
        "p99_ms",
        "upload_ms",
        "download_ms",
        "gflop",
        "floor_ms",
        "fraction_of_floor",
    )
    lines = [f"{result['model']['id']} {result['model']['precision']}, {result['rows'][0]['engine']}"]
    lines.append(f"{'size':>10} {'batch':>5}" + "".join(f"{column:>{len(column) + 2}}" for column in columns))
    for row in result["rows"]:
        cells = (f"{'-' if row.get(c) is None else format(row[c], '.3f'):>{len(c) + 2}}" for c in columns)
        lines.append(f"{row['size']:>10} {row['batch']:>5}" + "".join(cells))
    return "\n".join(lines)


def _frames(shape: tuple[int, int, int, int]) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)


def _check_sizes(fixed: Size | None, multiple: int, sizes: Sequence[Size]) -> None:
    for width, height in sizes:
        if fixed and (width, height) != fixed:
            raise ConfigError(f"The model takes {fixed[0]}x{fixed[1]} only; got --size {width}x{height}.")
        if not fixed and (width % multiple or height % multiple):
            raise ConfigError(f"The model takes multiples of {multiple} only; got --size {width}x{height}.")
