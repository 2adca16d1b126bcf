"""Runs the contestants in turn, round after round, each in a process of its own."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from perception.bench.contestants import CONTESTANTS
from perception.bench.figures import node_figures
from perception.bench.machine import Load
from perception.bench.result import Figures, look_up
from perception.bench.task import Task, in_child
from perception.config import ENV_PREFIX, RULES
from perception.errors import SourceError
from perception.measure import measure
from perception.types import Size

NODE, WITHOUT_NETWORK = "node", "node without network"
LEAST_RECEIVED = 2  # frames after the warm-up, to tell a rate from

Show = Callable[[str, str], None]  # what goes on, and a key that changes where it is shown at once


@dataclass(frozen=True, slots=True)
class Plan:
    """One benchmark."""

    task: Task
    rounds: int
    answers: Path | None  # recorded ones, for a node without its network; None where it has none to do without
    network_size: Size


def run_rounds(plan: Plan, show: Show) -> list[Figures]:
    """Measure; one entry a round, of figures by contestant.

    Every round begins with another contestant, so that none always follows the same one and what drifts with
    time meets all alike.

    Raises:
        RoadcastError: a contestant could not do what was asked, or failed.
    """
    names = [*CONTESTANTS, NODE] + ([WITHOUT_NETWORK] if plan.answers else [])
    started = time.monotonic()
    rounds: list[Figures] = []
    for number in range(plan.rounds):
        left = ""
        if number:
            seconds = (time.monotonic() - started) / number * (plan.rounds - number)
            left = f", about {seconds:.0f} s left"
        load, found = Load.now(), {}
        for position in range(len(names)):
            name = names[(position + number) % len(names)]
            doing = f"round {number + 1} of {plan.rounds}{left}: {name}"
            show(doing, doing)
            found[name] = _contest(name, plan, lambda text, doing=doing: show(f"{doing}: {text}", doing))  # type: ignore[misc]
        after = Load.now()
        others = after.others_since(load) if after and load else None
        rounds.append({**{name: found[name] for name in names}, "ratios": ratios(found), "others_busy": others})
    return rounds


def ratios(found: Mapping[str, Figures]) -> dict[str, float | None]:
    """The node against its bounds in one round, in which the machine was the same for all of them."""

    def fps_against(other: str) -> float | None:
        ours, theirs = look_up(found[NODE], "fps"), look_up(found[other], "fps")
        return ours / theirs if ours is not None and theirs else None

    decoding = look_up(found["bare decoding"], "core_ms")
    rest = look_up(found.get(WITHOUT_NETWORK, {}), "core_ms")
    return {
        **{f"node_to_{name.replace(' ', '_')}_fps": fps_against(name) for name in CONTESTANTS},
        "beyond_decoding_and_inference_core_ms": None if decoding is None or rest is None else rest - decoding,
    }


def without_settings(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment for a child: settings of a node are in its task already, and must not come in twice."""
    settings = {ENV_PREFIX + name.upper() for name in RULES} | {f"{ENV_PREFIX}CONFIG"}
    return {name: value for name, value in environment.items() if name not in settings}


def _contest(name: str, plan: Plan, show: Callable[[str], None]) -> Figures:
    task, environment = plan.task, without_settings(os.environ)
    if name in CONTESTANTS:
        words = (name, task.to_word(), str(time.monotonic_ns()))
        return in_child("perception.bench.contestants", *words, environment=environment)
    if name == WITHOUT_NETWORK:
        config = replace(task.config, engine="recorded", model=str(plan.answers), size=plan.network_size)
        task = replace(task, config=config)
    return _node(task, environment, show)


def _node(task: Task, environment: Mapping[str, str], show: Callable[[str], None]) -> dict[str, Any]:
    """One run of the node, with its subscriber in this process."""
    settings = task.flags()
    if task.config.rate is not None:
        settings |= {"pace": "real", "rate": repr(task.config.rate), "policy": "drop_oldest"}
    run = measure(task.config.source, task.needed, live=False, show=show, settings=settings, environment=environment)
    if run.problem:
        raise SourceError(f"The node failed: {run.problem}")
    counted = sum(scene.number >= task.warm_up for scene in run.scenes)
    if counted < LEAST_RECEIVED:
        raise SourceError(
            f"Only {counted} of {task.frames} frames arrived after the warm-up, too few to tell anything: "
            "give a lower --rate or more --frames."
        )
    return node_figures(run, task.warm_up)
