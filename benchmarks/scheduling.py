"""Scheduling, proved without a GPU: sources, a device and stages that only sleep, in the pipeline of the node.

    python benchmarks/scheduling.py [--decode 5] [--infer 8] [--post 5] [--slots 2] [--seconds 10] [--out FILE]

At full pace the slowest activity alone should set the rate: 125 frames a second with a device that takes 8 ms. Paced
below that, a frame should take the sum of its activities, 18 ms, and wait for nothing. Order, loss and whose answer
each frame got are checked on every frame.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np

from perception.arrivals import Arrivals, Inflow
from perception.engines.simulated import SimulatedEngine
from perception.files import write_whole
from perception.pipeline import Stop, each, threaded
from perception.serving import Serving
from perception.stages.segment import segment_sets
from perception.types import CaptureTime, Frame, Latency, Scene, Size

SIZE: Size = (64, 32)  # of the frames and of the network: copying them takes no time
SETTLING = 20  # frames at the start that are not counted
RATE_SHARE, LATENCY_FACTOR = 0.95, 1.1  # what is promised


@dataclass(frozen=True)
class Times:
    """What every activity takes, in milliseconds."""

    decode: float
    infer: float
    post: float


def main() -> int:
    """Run both ways, print the figures and whether they keep what is promised; 1 if not."""
    parser = argparse.ArgumentParser(description="Measure the pipeline's scheduling with activities that sleep.")
    for name, default in (("decode", 5.0), ("infer", 8.0), ("post", 5.0)):
        parser.add_argument(f"--{name}", type=float, default=default, metavar="MS", help="default: %(default)s")
    parser.add_argument("--slots", type=int, default=2, help="default: %(default)s")
    parser.add_argument("--rate", type=float, default=100.0, help="frames a second of the paced run (default: 100)")
    parser.add_argument("--seconds", type=float, default=10.0, help="for each run (default: %(default)s)")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    args = parser.parse_args()
    times = Times(args.decode, args.infer, args.post)
    slowest, total = max(times.decode, times.infer, times.post), times.decode + times.infer + times.post
    full = measure(times, args.slots, None, round(args.seconds * 1000 / slowest))
    paced = measure(times, args.slots, args.rate, round(args.seconds * args.rate))
    result = {
        "command": " ".join(["python", "benchmarks/scheduling.py", *sys.argv[1:]]),
        "overshoot_of_a_5_ms_sleep_ms": overshoot(),
        "full pace": {**full, "bound_fps": 1000 / slowest, "share": full["fps"] * slowest / 1000},
        "paced": {**paced, "sum_ms": total, "factor": paced["p50_ms"] / total},
    }
    kept = {
        "rate": result["full pace"]["share"] >= RATE_SHARE,
        "latency": result["paced"]["factor"] <= LATENCY_FACTOR,
        "order and loss": all(run[key] == 0 for run in (full, paced) for key in ("lost", "reordered", "wrong")),
    }
    result["kept"] = kept
    print(json.dumps(result, indent=1))
    if args.out:
        write_whole(args.out, json.dumps(result, indent=1) + "\n")
    return 0 if all(kept.values()) else 1


def measure(times: Times, slots: int, rate: float | None, frames: int) -> dict[str, float]:
    """Send frames through decode, network and post-processing, at a rate or as fast as they go."""
    stop = Stop()
    engine = SimulatedEngine(infer_ms=times.infer, slots=slots)
    serving = Serving(engine, lambda size: size)
    arrivals = Arrivals(
        [Inflow("front", camera(times.decode, rate, frames))], stop=stop, tolerance_s=0.0, lossless=rate is None
    )
    segmented = segment_sets(lambda: serving, stop=stop)(arrivals.sets())
    post = each(lambda scene: after_sleeping(times.post, scene))
    numbers, latencies, arrived, wrong = [], [], [], 0
    for scene in threaded(post(segmented), stop=stop, name="collect"):
        now = time.monotonic_ns()
        numbers.append(scene.frame.number)
        arrived.append(now)
        latencies.append((now - scene.frame.time.captured_mono_ns) / 1e6)
        wrong += int(scene.segmentation is None or scene.segmentation.labels[0, 0] != scene.frame.number % 19)
    engine.close()
    span = (arrived[-1] - arrived[SETTLING]) / 1e9
    p50, p99 = np.percentile(latencies[SETTLING:], (50, 99))
    return {
        "frames": frames,
        "fps": (len(arrived) - 1 - SETTLING) / span,
        "p50_ms": float(p50),
        "p99_ms": float(p99),
        "lost": frames - len(set(numbers)),
        "reordered": sum(later < earlier for earlier, later in pairwise(numbers)),
        "wrong": wrong,
    }


def camera(decode_ms: float, rate: float | None, frames: int) -> Iterator[Scene]:
    """Frames that were captured on time, or at once, and take ``decode_ms`` to decode; the number is in each."""
    started = time.monotonic_ns()
    for number in range(frames):
        captured = time.monotonic_ns() if rate is None else started + round(number * 1e9 / rate)
        sleep_until(captured)
        image = np.full((SIZE[1], SIZE[0], 3), number % 19, np.uint8)
        scene = Scene(Frame("front", number, capture(captured), image), Latency(captured))
        yield after_sleeping(decode_ms, scene).lap("decode")


def capture(at_ns: int) -> CaptureTime:
    """The time of a frame that was captured then, on the monotonic clock."""
    ago = time.monotonic_ns() - at_ns
    return replace(CaptureTime.now(), captured_mono_ns=at_ns, captured_ns=time.time_ns() - ago)


def after_sleeping(milliseconds: float, scene: Scene) -> Scene:
    """The scene, so much later."""
    sleep_until(time.monotonic_ns() + round(milliseconds * 1e6))
    return scene


def sleep_until(at_ns: int) -> None:
    """Sleep until a time of the monotonic clock, or not at all when it is past."""
    left = at_ns - time.monotonic_ns()
    if left > 0:
        time.sleep(left / 1e9)


def overshoot(count: int = 100) -> float:
    """By how much this machine's sleeps are too long, the median in milliseconds: no pipeline can do better."""
    extra = []
    for _ in range(count):
        started = time.monotonic_ns()
        time.sleep(0.005)
        extra.append((time.monotonic_ns() - started) / 1e6 - 5)
    return float(np.median(extra))


if __name__ == "__main__":
    sys.exit(main())
