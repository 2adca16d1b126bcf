"""Benchmark the node against what bounds it, in one run on one machine.

    python benchmarks/run.py [--source VIDEO] [--engine auto] [--frames 600] [--rounds 3] [--out FILE]

A 1280x720 H.264 clip goes through, in turn and several rounds over: the bare decoder, the bare engine, a
plain serial loop, the node with a subscriber in another process, and the node with recorded answers
instead of a network. The last tells what everything but decoding and inference costs. Medians of the
rounds are printed and written as JSON. See README.md beside this file.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections import deque
from pathlib import Path

import numpy as np
from clip import SIZE, prepare_clip
from machine import fingerprint

from perception.engines.open import DEFAULT_MODEL, open_engine
from perception.ledger import Ledger
from perception.measure import Run, measure
from perception.sources import open_source
from perception.stages.prepare import prepare
from perception.types import Size

HERE = Path(__file__).parent
RECORDED_FRAMES = 60

Figures = dict[str, float]


def main() -> int:
    """Run all rounds, print the table, write the JSON."""
    parser = argparse.ArgumentParser(description="Benchmark the node end to end.")
    parser.add_argument("--source", help="a video to bring to 1280x720 (default: a rendered street)")
    parser.add_argument("--engine", default="auto", help="auto, onnxruntime or openvino (default: auto)")
    parser.add_argument("--frames", type=int, default=600, help="frames a contestant and round (default: 600)")
    parser.add_argument("--rounds", type=int, default=3, help="default: 3")
    parser.add_argument("--work", type=Path, default=Path("out/bench"), help="folder for clips")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    args = parser.parse_args()

    _say("preparing the clip")
    clip = prepare_clip(args.work, args.frames + 20, args.source)
    engine, size = _chosen(args.engine)
    recorded = _record(clip, engine, size, args.work)
    rounds: dict[str, list[Figures]] = {}
    for number in range(args.rounds):
        _say(f"round {number + 1} of {args.rounds}")
        for name in ("bare decoding", "bare engine", "serial loop"):
            rounds.setdefault(name, []).append(_contest(name, clip, engine, args.frames))
        node = _node(clip, args.frames, {"engine": engine})
        rounds.setdefault("node", []).append(node)
        settings = {"engine": "recorded", "model": str(recorded), "size": f"{size[0]}x{size[1]}"}
        rounds.setdefault("node without network", []).append(_node(clip, args.frames, settings))
    result = {
        "date": time.strftime("%Y-%m-%d"),
        "command": " ".join(["python", *(_without_folder(word) for word in sys.argv)]),
        "machine": fingerprint(),
        "engine": engine,
        "network_size": size,
        "frames": args.frames,
        "rounds": args.rounds,
        "medians": {name: _medians(figures) for name, figures in rounds.items()},
    }
    _print(result["medians"])
    if args.out:
        temporary = args.out.with_name(args.out.name + ".part")
        temporary.write_text(json.dumps(result, indent=1) + "\n")
        temporary.replace(args.out)
    return 0


def _without_folder(word: str) -> str:
    """Where a video lay on the machine that measured is no part of the result."""
    return word if word == sys.argv[0] or "/" not in word or word.startswith("benchmarks/") else Path(word).name


def _chosen(engine: str) -> tuple[str, Size]:
    """The engine that ``auto`` picks here, and the network's size for the clip."""
    opened = open_engine(engine, DEFAULT_MODEL)
    name, size = opened.name, opened.spec.network_size(SIZE)
    print(f"{opened.reason} Network {size[0]}x{size[1]}.")
    opened.close()
    return name, size


def _record(clip: Path, engine: str, size: Size, folder: Path) -> Path:
    """The network's answers on the clip's first frames, for the engine ``recorded``."""
    opened = open_engine(engine, DEFAULT_MODEL)
    answers: deque[dict[str, np.ndarray]] = deque()
    for frame, _ in zip(open_source(str(clip)).frames(Ledger()), range(RECORDED_FRAMES)):
        answers.append(dict(opened.submit(prepare(frame.image, size)[None]).result()))
    opened.close()
    path = folder / "recorded.npz"
    np.savez(path, **{name: np.concatenate([answer[name] for answer in answers]) for name in answers[0]})
    return path


def _contest(name: str, clip: Path, engine: str, frames: int) -> Figures:
    command = [sys.executable, str(HERE / "contestants.py"), name, str(clip), engine, str(frames)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    figures: Figures = json.loads(done.stdout)
    return figures


def _node(clip: Path, frames: int, settings: dict[str, str]) -> Figures:
    run: Run = measure(str(clip), frames, live=False, show=lambda _: None, settings=settings)
    if run.problem:
        raise SystemExit(f"the node failed: {run.problem}")
    ages = np.percentile(run.latency_ms[1:], (50, 95, 99, 100))
    process = run.node["process"]
    return {
        "fps": round(run.fps(), 2),
        "core_ms": process["core_ms_per_frame"],
        "busy": process["busy"],
        "frames": len(run.scenes),
        "lost": run.lost,
        "dropped": sum(run.node["frames"]["dropped"].values()),
        **{f"latency_{name}_ms": round(float(age), 1) for name, age in zip(("p50", "p95", "p99", "max"), ages)},
        "first_frame_ms": run.node["first_frame_ms"],
        "resident_mb": process["resident_mb"],
        **{f"stage {name}": round(value, 2) for name, value in run.stages_ms().items()},
    }


def _medians(rounds: list[Figures]) -> Figures:
    return {key: round(statistics.median(figures[key] for figures in rounds), 3) for key in rounds[0]}


def _print(medians: dict[str, Figures]) -> None:
    print(f"\n{'':22}{'fps':>8}{'core-ms':>9}{'busy':>7}{'p50':>8}{'p95':>8}{'p99':>8}{'max ms':>8}{'lost':>6}")
    for name, figures in medians.items():
        busy = f"{figures['busy']:.0%}" if "busy" in figures else ""
        ages = [f"{figures[f'latency_{q}_ms']:.1f}" if "busy" in figures else "" for q in ("p50", "p95", "p99", "max")]
        lost = f"{figures['lost']:.0f}" if "busy" in figures else ""
        columns = "".join(f"{age:>8}" for age in ages)
        print(f"{name:22}{figures['fps']:8.1f}{figures['core_ms']:9.2f}{busy:>7}{columns}{lost:>6}")
    rest = medians["node without network"]["core_ms"] - medians["bare decoding"]["core_ms"]
    print(f"\nall but decoding and inference: {rest:.2f} core-ms a frame")
    print(f"node against bare engine: {medians['node']['fps'] / medians['bare engine']['fps']:.2f}")
    print(f"node against serial loop: {medians['node']['fps'] / medians['serial loop']['fps']:.2f}")
    stages = ", ".join(f"{k[6:]} {v:.1f}" for k, v in medians["node"].items() if k.startswith("stage "))
    print(f"node, median ms: {stages}")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
