"""Every network's size and speed: weights, arithmetic, milliseconds a frame in the engines that are installed.

    python benchmarks/networks.py [--size 640x352] [--rounds 9] [--threads 2] [--network light ...] [--width small ...]

Untrained networks, exported with labels at half the frame's size as the default model has them; times do not depend
on the weights. Engines and networks take turns, so that what else the machine does hits all alike; the table has the
medians and the ratio to the first row. OpenVINO runs as it does in the node, in bf16 where the processor has it.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any, get_args

import keras
import numpy as np

from perception.engines.open import open_engine
from perception.errors import EngineUnavailable
from training.card import ModelCard
from training.export import export_onnx
from training.models.analysis import count_flops, logits_stride
from training.models.names import Network
from training.models.network import build_network
from training.settings import Width

ENGINES = ("onnxruntime", "openvino")


def main() -> None:
    """Print one row a network and width, as Markdown."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", default="640x352", help="of the frame, sides in multiples of 32")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--network", nargs="+", default=list(get_args(Network)), choices=get_args(Network))
    parser.add_argument("--width", nargs="+", default=["small"], choices=get_args(Width))
    args = parser.parse_args()
    width, height = (int(side) for side in args.size.split("x"))
    frame = np.random.default_rng(0).integers(0, 256, (1, height, width, 3), np.uint8)
    facts: dict[str, str] = {}
    runs: dict[tuple[str, str], Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for network in args.network:
            for variant in args.width:
                row = f"{network} {variant}"
                path = Path(folder) / f"{row}.onnx"
                facts[row] = _export(network, variant, path, (width, height))
                runs |= {(row, name): engine for name, engine in _engines(path, args.threads).items()}
        times = _measure(runs, frame, args.rounds)
    installed = [name for name in ENGINES if any(engine == name for _, engine in runs)]
    print(f"| {args.size}, {args.threads} threads | weights | GFLOP | logits at 1/ | file |", end="")
    print("".join(f" {name} ms | ratio |" for name in installed))
    print("|---|---|---|---|---|" + "---|---|" * len(installed))
    first = next(iter(facts))
    for row, fact in facts.items():
        cells = [
            f" {1000 * times[row, name]:.1f} | {times[row, name] / times[first, name]:.2f} |" for name in installed
        ]
        print(f"| {row} | {fact} |" + "".join(cells))


def _export(network: Network, variant: Width, path: Path, size: tuple[int, int]) -> str:
    keras.utils.set_random_seed(1)
    model = build_network(network, width=variant)
    export_onnx(model, path, ModelCard(path.stem, size[0] * size[1]), label_stride=2)
    weights, flops = model.count_params() / 1e6, count_flops(model, size) / 1e9
    return f"{weights:.2f} M | {flops:.1f} | {logits_stride(model)} | {path.stat().st_size / 1e6:.1f} MB"


def _engines(path: Path, threads: int) -> dict[str, Any]:
    found = {}
    for name in ENGINES:
        try:
            found[name] = open_engine(name, path, mode="latency", threads=threads)
        except EngineUnavailable as error:
            print(f"{name} is left out: {error}")
    return found


def _measure(runs: dict[tuple[str, str], Any], frame: np.ndarray, rounds: int) -> dict[tuple[str, str], float]:
    """Median seconds of each; the first round warms up and does not count."""
    times: dict[tuple[str, str], list[float]] = {key: [] for key in runs}
    for _ in range(rounds + 1):
        for key, engine in runs.items():
            started = time.perf_counter()
            engine.submit(frame).result()
            times[key].append(time.perf_counter() - started)
    for engine in runs.values():
        engine.close()
    return {key: statistics.median(taken[1:]) for key, taken in times.items()}


if __name__ == "__main__":
    main()
