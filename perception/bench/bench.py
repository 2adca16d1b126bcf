"""One benchmark from its settings to its result."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from perception.bench.clip import Clip, prepare_clip
from perception.bench.machine import BUSY_SHARE, Load, hardware, others_now, software
from perception.bench.result import SCHEMA, VERSION, medians
from perception.bench.rounds import Plan, run_rounds, without_settings
from perception.bench.task import Task, in_child
from perception.config import NodeConfig
from perception.errors import ConfigError
from perception.terminal import StatusLine

WARM_UP_FRAMES = 10  # caches, allocators and clocks settle; the first of them is told apart
FRAMES = 300
LEAST_FRAMES = 30  # below, percentiles mean nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What the user asks for."""

    source: str | None  # a video or a synth:// address; None for the street of the benchmarks
    config: NodeConfig  # engine and rate; its source is replaced
    frames: int | None  # counted in a round; None for the usual number, or as many as the clip has
    rounds: int
    command: str


def bench(wish: Wish, line: StatusLine) -> dict[str, Any]:
    """Measure, and return the result as JSON knows values. See ``benchmarks/README.md`` for what it holds.

    Raises:
        RoadcastError: the source, the model or the engine is not what was asked for, or something failed.
    """
    wanted = (wish.frames or FRAMES) + WARM_UP_FRAMES
    clip = prepare_clip(wish.source, wanted, lambda text: line.show(text, key=text.partition(":")[0]))
    frames = _counted(clip, wish.frames)
    task = Task(replace(wish.config, source=str(clip.path)), frames, WARM_UP_FRAMES)
    line.show("looking whether the machine is idle", key="idle")
    others = others_now()
    warnings = []
    if others is not None and others > BUSY_SHARE:
        warnings.append(f"Other programs took {others:.0%} of the cores just before this was measured.")
        line.note(f"roadcast: warning: {warnings[0]} Stop them, or measure later, for figures that mean something.")
    with tempfile.TemporaryDirectory(prefix="roadcast-bench-") as folder:
        answers = Path(folder) / "answers.npz"
        line.show("trying the engine", key="engine")
        probed = in_child(
            "perception.bench.probe", task.to_word(), str(answers), environment=without_settings(os.environ)
        )
        if task.config.engine == "auto":  # so that all contestants run what it picks
            task = replace(task, config=replace(task.config, engine=probed["engine"]))
        plan = Plan(task, wish.rounds, answers if answers.exists() else None, tuple(probed["network_size"]))
        started = Load.now()
        rounds = run_rounds(plan, lambda text, key: line.show(text, key=key))
    busy = Load.now()
    during = busy.others_since(started) if busy and started else None
    if during is not None and during > BUSY_SHARE:
        warnings.append(f"Other programs took {during:.0%} of the cores while this was measured.")
    return {
        "schema": SCHEMA,
        "version": VERSION,
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "command": wish.command,
        "machine": hardware(),
        "software": software(),
        "load": {"others_before": others, "others_during": during, "warnings": warnings},
        "clip": {"source": clip.name, "sha256": clip.sha256, "size": clip.size},
        "settings": _settings(task, wish, probed),
        "rounds": rounds,
        "medians": medians(rounds),
    }


def _counted(clip: Clip, wanted: int | None) -> int:
    """How many frames of the clip count. Raises ConfigError where it is too short."""
    least = wanted or LEAST_FRAMES
    there = clip.frames - WARM_UP_FRAMES
    if there < least:
        have = f" or give --frames {there}" if there >= LEAST_FRAMES else ""
        raise ConfigError(
            f"The clip {clip.name!r} is too short: it holds {clip.frames} frames, {least + WARM_UP_FRAMES} are needed "
            f"({WARM_UP_FRAMES} to warm up and {least} to count). Take a longer one{have}."
        )
    return wanted or there


def _settings(task: Task, wish: Wish, probed: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "rate": task.config.rate,
        "frames": task.frames,
        "warm_up_frames": task.warm_up,
        "rounds": wish.rounds,
        "subscribed": ["labels", "objects"],
        "threads": task.config.threads,
        "device": task.config.device,
        **probed,
    }
