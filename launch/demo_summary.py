"""What the demo tells of its timed run, line by line."""

from __future__ import annotations

import statistics
from collections.abc import Mapping

from demo_clip import Score

from perception.measure import Run

# A network on the CPU that always has the next frame at hand leaves hardly a core idle.
USUAL_BUSY = 0.75
GROUPS = {"decode": "decode", "prepare": "network", "submit": "network", "infer": "network"}
REST = "objects and publishing"


def summary(run: Run, source: str, result: Score | None, *, live: bool, verbose: bool) -> str:
    """The figures as a table; with ``verbose`` every stage and queue, too."""
    p50, p99 = run.latency()
    node, frames = run.node, run.node["frames"]
    size = "x".join(map(str, run.scenes[0].info.source_size))
    dropped = sum(frames["dropped"].values())
    rows = [
        ("source", f"{source}, {size}, {frames['captured']} frames"),
        ("end to end", f"{run.fps():.1f} fps at a subscriber in another process"),
        ("latency", f"p50 {p50:.1f} ms, p99 {p99:.1f} ms from capture to subscriber"),
        ("of which", f"{_listed(grouped_ms(run))} (medians, which need not add up)"),
        ("stages", _listed(run.stages_ms()) if verbose else ""),
        ("losses", f"{dropped} frames dropped by the node, {run.lost} messages lost on the way"),
        ("engine", node["engine_reason"]),
        ("node", busy_text(node["process"], full_pace_on_cpu=not live and " on the CPU" in node["engine_reason"])),
    ]
    if result is not None:
        rows.append(("mIoU", f"{result.mean_iou:.3f} against the exact truth, over the {result.classes} classes in it"))
    return "\n".join(f"{name:>10}  {text}" for name, text in rows if text)


def grouped_ms(run: Run) -> dict[str, float]:
    """What a frame spent in decoding, in queues, in the network and after it: the median over all frames."""
    spent: dict[str, list[float]] = {name: [] for name in ("decode", "waiting", "network", REST)}
    for scene in run.scenes:
        sums = dict.fromkeys(spent, 0.0)
        for stage, us in scene.info.latency_us.items():
            sums["waiting" if stage.startswith("wait_") else GROUPS.get(stage, REST)] += us / 1000
        for name, ms in sums.items():
            spent[name].append(ms)
    return {name: statistics.median(values) for name, values in spent.items()}


def busy_text(process: Mapping[str, float | None], *, full_pace_on_cpu: bool) -> str:
    """The node's share of the cores; where it is suspiciously low, that others may have had the rest."""
    busy, cores = process["busy"], process["cores"]
    if busy is None:
        return ""
    text = f"{100 * busy:.0f} % of {cores} cores busy"
    if full_pace_on_cpu and busy < USUAL_BUSY:
        text += "; if the machine was busy with other programs, too, the figures above are worse than the node's own"
    return text


def _listed(spent: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {ms:.1f}" for name, ms in spent.items()) + " ms"
