"""Measure a node from outside: it runs in a process of its own, its subscriber in this one."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from perception.children import started
from perception.classes import CITYSCAPES, ClassTable
from perception.client import ReceivedScene, Subscriber
from perception.errors import RequestError, SourceError, Timeout

PATIENCE_S = 30.0  # for the node to load its model, and between two frames
ENDING_S = 10.0

Show = Callable[[str], None]


@dataclass
class Run:
    """What the subscriber received, and when. Maps stay packed: unpacking them would be timed, too."""

    scenes: list[ReceivedScene] = field(default_factory=list)
    latency_ms: list[float] = field(default_factory=list)
    lost: int = 0  # messages
    started_ns: int = 0  # monotonic, when the node was asked for
    table: ClassTable = CITYSCAPES
    node: dict[str, Any] = field(default_factory=dict)  # the node's own summary, as it prints it
    problem: str | None = None  # what the node complained of at its end
    exit_code: int = 0

    def fps(self) -> float:
        """Frames a second, from the first to the last that was received."""
        span = self.scenes[-1].received_mono_ns - self.scenes[0].received_mono_ns
        return (len(self.scenes) - 1) * 1e9 / span if span else 0.0

    def latency(self) -> tuple[float, float]:
        """Median and 99th percentile from capture to this process, without the first frame, milliseconds."""
        p50, p99 = np.percentile(self.latency_ms[1:] or self.latency_ms, (50, 99))
        return float(p50), float(p99)

    def stages_ms(self) -> dict[str, float]:
        """The median of every stage and queue, in the order of the way."""
        spent = [scene.info.latency_us for scene in self.scenes]
        return {name: statistics.median(s.get(name, 0) for s in spent) / 1000 for name in spent[-1]}


def measure(
    source: str,
    frames: int,
    *,
    live: bool,
    show: Show,
    settings: Mapping[str, str] | None = None,
    environment: Mapping[str, str] | None = None,
) -> Run:
    """Run a node on the source and receive everything it publishes, its camera images only where it is live.

    ``settings`` are further flags of ``roadcast run`` by name, without the dashes; ``environment`` is the node's,
    None for that of this process.

    Raises:
        RequestError, SourceError: the node published nothing; the message says what it complained of.
        Timeout: it fell silent.
    """
    run = Run(started_ns=time.monotonic_ns())
    kinds = ("image", "labels", "objects") if live else ("labels", "objects")
    with tempfile.TemporaryDirectory() as folder:
        endpoint = f"ipc://{folder}/node"
        with (
            Subscriber(endpoint, kinds=kinds, timeout=1.0) as subscriber,
            node(source, endpoint, frames, live=live, settings=settings or {}, environment=environment) as child,
        ):
            _receive(run, subscriber, child, show)
            run.lost, run.table = subscriber.tally.lost, subscriber.classes or CITYSCAPES
            said, complaint = child.communicate(timeout=ENDING_S)
    run.exit_code = child.returncode
    if child.returncode:
        last_line = (complaint.strip() or f"exit code {child.returncode}").splitlines()[-1]
        run.problem = last_line.removeprefix("roadcast: error: ")
    if not run.scenes:
        error = RequestError if child.returncode == RequestError.exit_code else SourceError
        raise error(f"The node published nothing: {run.problem or 'it gave no reason'}")
    run.node = json.loads(said)
    return run


@contextmanager
def node(
    source: str,
    endpoint: str,
    frames: int,
    *,
    live: bool,
    settings: Mapping[str, str],
    environment: Mapping[str, str] | None = None,
) -> Iterator[subprocess.Popen[str]]:
    """A node that begins when somebody subscribes; killed if it is still there in the end."""
    flags = {"publish": endpoint, "frames": str(frames), "wait-subscribers": "1"}
    if not live:
        flags |= {"policy": "wait", "pace": "max"}
    flags |= settings
    command = [sys.executable, "-m", "perception", "run", source, "--json"]
    for name, value in flags.items():
        command += [f"--{name}", value]
    with started(command, environment) as child:
        yield child


def _receive(run: Run, subscriber: Subscriber, child: subprocess.Popen[str], show: Show) -> None:
    heard_s = time.monotonic()
    show("loading the model")
    while True:
        try:
            for scene in subscriber.scenes():
                run.scenes.append(scene)
                run.latency_ms.append(subscriber.age_ms(scene))
                heard_s = time.monotonic()
                show(f"measuring: {len(run.scenes)} frames received, the last {run.latency_ms[-1]:.0f} ms old")
        except Timeout:
            if child.poll() is not None:
                return
            if time.monotonic() - heard_s > PATIENCE_S:
                raise
        else:
            return
