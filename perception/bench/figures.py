"""From what a subscriber received of a node to figures: rate, latency, stages, losses, the engine's busy share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from perception.client import ReceivedScene
from perception.measure import Run

QUANTILES = {"p50": 50, "p95": 95, "p99": 99, "max": 100}
INFER = "infer"


def node_figures(run: Run, warm_up: int) -> dict[str, Any]:
    """The figures of one run, those of rate and time without the frames whose number is below ``warm_up``.

    Latency reaches from the grab of a frame, under a rate from when it was due, to the moment at which its
    joined labels and objects are in this process. Percentiles are over the frames that arrived: what was
    dropped or lost on the way is counted apart.
    """
    first = run.scenes[0]
    captured_ns = first.header.time.captured_mono_ns or 0
    counted = [(scene, ms) for scene, ms in zip(run.scenes, run.latency_ms) if scene.number >= warm_up]
    scenes = [scene for scene, _ in counted]
    ledger, process = run.node["frames"], run.node["process"]
    return {
        "fps": _rate([scene.received_mono_ns for scene in scenes]),
        "latency_ms": quantiles([ms for _, ms in counted]),
        "core_ms": process["core_ms_per_frame"],
        "cores_busy": process["busy"],
        "engine": engine_use(map(infer_times, scenes)),
        "ready_s": (captured_ns - run.started_ns) / 1e9,
        "first_frame_ms": run.latency_ms[0],
        "memory_mb": {
            "start": process["resident_at_start_mb"],
            "end": process["resident_mb"],
            "peak": process["peak_mb"],
        },
        "frames": {"captured": ledger["captured"], "published": ledger["published"], "received": len(run.scenes)},
        "dropped": ledger["dropped"],
        "lost_messages": run.lost,
        "undelivered": 1 - len(run.scenes) / ledger["captured"],
        "stages_ms": stages([scene.info.latency_us for scene in scenes]),
    }


def quantiles(values: Sequence[float]) -> dict[str, float]:
    """Median, 95th and 99th percentile and maximum."""
    found = np.percentile(values, list(QUANTILES.values()))
    return {name: float(value) for name, value in zip(QUANTILES, found)}


def stages(spent_us: Sequence[Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """The quantiles in milliseconds of every stage and queue, in the order of the way; 0 where a frame skipped one."""
    names: dict[str, None] = {}
    for spent in sorted(spent_us, key=len, reverse=True):  # the longest way first: it has them all in order
        names.update(dict.fromkeys(spent))
    return {name: quantiles([spent.get(name, 0) / 1000 for spent in spent_us]) for name in names}


def infer_times(scene: ReceivedScene) -> tuple[int, int] | None:
    """When the network began and ended with a frame, monotonic ns: the entries of its latency are contiguous."""
    at = scene.header.time.captured_mono_ns
    for name, spent_us in scene.info.latency_us.items():
        if at is not None and name == INFER:
            return at, at + round(spent_us * 1000)
        at = None if at is None else at + round(spent_us * 1000)
    return None


def engine_use(runs: Iterable[tuple[int, int] | None]) -> dict[str, float] | None:
    """The share of the time in which the engine computed at all, and how many runs overlapped on average."""
    spans = sorted(run for run in runs if run is not None)
    if not spans:
        return None
    start, end = spans[0][0], max(end for _, end in spans)
    covered, reached = 0, start
    for begun, done in spans:
        covered += max(0, done - max(begun, reached))
        reached = max(reached, done)
    whole = max(1, end - start)
    return {"busy": covered / whole, "runs_at_a_time": sum(done - begun for begun, done in spans) / whole}


def _rate(arrived_ns: Sequence[int]) -> float:
    span = arrived_ns[-1] - arrived_ns[0]
    return (len(arrived_ns) - 1) * 1e9 / span if span > 0 else 0.0
