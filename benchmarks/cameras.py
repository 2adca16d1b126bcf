"""Several cameras in one node against as many nodes of one thread each, on the same cores.

    python benchmarks/cameras.py [--source VIDEO] [--engine auto] [--cameras 4] [--cores 2] [--frames 240]
                                 [--rounds 5] [--batch N] [--out FILE]

Every camera plays the same clip at ``--pace max``; labels and objects of each are received in this process,
over a connection of its own. Counted are the frames that arrive while all cameras are at work: from the moment
at which the last of them has sent its twentieth frame until the first of them ends. The contestants run in turn,
in the opposite order every other round, all on the same cores, this process's readers too; ratios are taken within
a round. Exit code 1 where one node is slower than a node for each: the median of the rounds below 0.97, for equal
contestants differ by a hundredth or two.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from perception.bench.clip import prepare_clip
from perception.bench.machine import Load, hardware, software
from perception.bench.result import write
from perception.client import Subscriber
from perception.terminal import StatusLine

WARM_UP_FRAMES = 20
PATIENCE_S = 120.0
NO_WORSE = 0.97

Figures = dict[str, float]


@dataclass
class Reading:
    """What one subscriber received: when each frame was there, and how old it was then."""

    arrived_ns: list[int] = field(default_factory=list)
    ages_ms: list[float] = field(default_factory=list)
    lost: int = 0


def main() -> None:
    """Run all rounds, print the table, write the JSON."""
    parser = argparse.ArgumentParser(description="Measure several cameras in one node against a node for each.")
    parser.add_argument("--source", help="a video (default: a rendered street)")
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--cameras", type=int, default=4)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--frames", type=int, default=240, help="of each camera (default: 240)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch", type=int, help="frames in one run of the network, as a third contestant")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    args = parser.parse_args()
    if args.frames < 2 * WARM_UP_FRAMES:
        raise SystemExit(f"--frames must be at least {2 * WARM_UP_FRAMES}, got {args.frames}.")
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: args.cores])  # children inherit it
    line, load = StatusLine(sys.stderr), Load.now()
    clip = prepare_clip(args.source, args.frames, line.show)
    if clip.frames < args.frames:
        raise SystemExit(f"{clip.name} holds {clip.frames} frames, {args.frames} are needed: give --frames or none.")
    contestants: dict[str, dict[str, Any]] = {
        "one node": {"nodes": 1, "settings": {}},
        "a node each": {"nodes": args.cameras, "settings": {"threads": 1}},
    }
    if args.batch:
        contestants[f"one node, batch {args.batch}"] = {"nodes": 1, "settings": {"batch": args.batch}}
    rounds: dict[str, list[Figures]] = {name: [] for name in contestants}
    for number in range(args.rounds):
        for name in list(contestants)[:: -1 if number % 2 else 1]:
            line.show(f"round {number + 1} of {args.rounds}: {name}", key=f"{number} {name}")
            rounds[name].append(_contest(clip.path, args, **contestants[name]))
    line.clear()
    now = Load.now()
    ratios = _ratios(rounds)
    _print(rounds, ratios)
    if args.out:
        batch = f" --batch {args.batch}" if args.batch else ""
        result = {
            "command": f"python benchmarks/cameras.py --engine {args.engine} --cameras {args.cameras} "
            f"--cores {args.cores} --frames {args.frames} --rounds {args.rounds}{batch}",
            "date": time.strftime("%Y-%m-%d"),
            "machine": hardware(),
            "software": software(),
            "others": now.others_since(load) if now and load else None,
            "clip": clip.name,
            "ratios": ratios,
            "rounds": rounds,
        }
        write(args.out, result)
    sys.exit(int(statistics.median(ratios["a node each"]) < NO_WORSE))


def _contest(clip: Path, args: argparse.Namespace, *, nodes: int, settings: dict[str, object]) -> Figures:
    """One run: ``nodes`` nodes that share the cameras, and a subscriber to every camera."""
    readings = [Reading() for _ in range(args.cameras)]
    with tempfile.TemporaryDirectory() as folder, ExitStack() as parts:
        children, readers = [], []
        for number in range(nodes):
            streams = [f"camera{index}" for index in range(args.cameras) if index % nodes == number]
            endpoint = f"ipc://{folder}/{number}"
            config = Path(folder) / f"{number}.toml"
            config.write_text(_toml(clip, streams, endpoint, args, settings))
            command = [sys.executable, "-m", "perception", "run", "--config", str(config), "--json"]
            child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            parts.callback(child.kill)
            children.append(child)
            for stream in streams:
                target = readings[int(stream.removeprefix("camera"))]
                readers.append(threading.Thread(target=_read, args=(endpoint, stream, target), daemon=True))
        for child in children:
            _wait_until_ready(child)
        for reader in readers:
            reader.start()
        ended = [child.communicate(timeout=PATIENCE_S) for child in children]
        for reader in readers:
            reader.join(PATIENCE_S)
    for child, (_, complaint) in zip(children, ended):
        if child.returncode:
            raise SystemExit(f"a node failed: {complaint.strip().splitlines()[-1]}")
    return _figures(readings, [json.loads(said) for said, _ in ended])


def _wait_until_ready(child: subprocess.Popen[str]) -> None:
    """So that all nodes begin at once, none while another loads its model."""
    assert child.stderr is not None
    said = ""
    for said in child.stderr:
        if said.startswith("waiting for subscribers"):
            return
    raise SystemExit(f"a node failed: {said.strip()}")


def _toml(clip: Path, streams: list[str], endpoint: str, args: argparse.Namespace, settings: dict[str, object]) -> str:
    node = {
        "publish": endpoint,
        "engine": args.engine,
        "pace": "max",
        "policy": "wait",
        "frames": args.frames,
        "wait_subscribers": len(streams),
        **settings,
    }
    lines = [f"{name} = {json.dumps(value)}" for name, value in node.items()]
    for stream in streams:
        lines += ["[[camera]]", f'stream = "{stream}"', f"source = {json.dumps(str(clip))}"]
    return "\n".join(lines) + "\n"


def _read(endpoint: str, stream: str, reading: Reading) -> None:
    with Subscriber(endpoint, streams=[stream], kinds=("labels", "objects"), timeout=PATIENCE_S) as subscriber:
        for scene in subscriber.scenes():
            reading.arrived_ns.append(scene.received_mono_ns)
            reading.ages_ms.append(subscriber.age_ms(scene))
        reading.lost = subscriber.tally.lost


def _figures(readings: list[Reading], summaries: list[dict[str, Any]]) -> Figures:
    begin = max(reading.arrived_ns[WARM_UP_FRAMES] for reading in readings)
    end = min(reading.arrived_ns[-1] for reading in readings)
    within = [at for reading in readings for at in reading.arrived_ns if begin < at <= end]
    ages = [age for reading in readings for at, age in zip(reading.arrived_ns, reading.ages_ms) if begin < at <= end]
    if not within:
        raise SystemExit("The cameras were never at work together: give more --frames.")
    frames = sum(summary["frames"]["published"] for summary in summaries)
    return {
        "fps": len(within) * 1e9 / (end - begin),
        "frames": len(within),
        "age_p50_ms": statistics.median(ages),
        "core_ms_per_frame": 1e3 * sum(summary["process"]["cpu_s"] for summary in summaries) / frames,
        "resident_mb": sum(summary["process"]["resident_mb"] or 0.0 for summary in summaries),
        "lost": sum(reading.lost for reading in readings),
        "dropped": sum(sum(summary["frames"]["dropped"].values()) for summary in summaries),
    }


def _ratios(rounds: dict[str, list[Figures]]) -> dict[str, list[float]]:
    """Frames a second of the first contestant over those of each other, round by round."""
    first, *others = rounds
    return {name: [a["fps"] / b["fps"] for a, b in zip(rounds[first], rounds[name])] for name in others}


def _print(rounds: dict[str, list[Figures]], ratios: dict[str, list[float]]) -> None:
    print(f"\n{'':24}{'fps':>8}{'core-ms':>9}{'age p50':>10}{'MB':>8}{'lost':>6}   medians of the rounds")
    for name, figures in rounds.items():
        fps, core_ms, age, size, lost = (
            statistics.median(figure[key] for figure in figures)
            for key in ("fps", "core_ms_per_frame", "age_p50_ms", "resident_mb", "lost")
        )
        print(f"{name:24}{fps:8.1f}{core_ms:9.2f}{age:7.1f} ms{size:8.0f}{lost:6.0f}")
    for name, found in ratios.items():
        print(f"one node / {name}: {statistics.median(found):.3f} ({min(found):.3f} to {max(found):.3f})")


if __name__ == "__main__":
    main()
