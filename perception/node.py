"""The node: its parts, put together in one function.

source ─q─> prepare, submit ─q─> collect, objects ─q─> publish
decode      submit               collect               the caller's thread, which owns the socket
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np

from perception.choices import choose_mode, choose_network_size, choose_policy, choose_shedding
from perception.config import NodeConfig, Policy
from perception.engines.engine import Engine
from perception.engines.open import open_engine
from perception.errors import EngineError, SourceError
from perception.ledger import Ledger
from perception.pipeline import Stage, Stop, Stopped, in_thread, threaded
from perception.publisher import Publisher, StreamInfo
from perception.sources import Source, open_source
from perception.stages.objects import objects
from perception.stages.segment import segment
from perception.types import Latency, Scene, Size
from perception.wire.endpoint import check_bindable

__all__ = ["Node", "NodeConfig", "build"]

T = TypeVar("T")

# Of the 2 s in which a node ends, its threads get this much; the rest is for the last messages on the socket.
THREADS_GRACE_S = 1.0
# What a camera most likely sends: for the warm-up, before its first frame tells.
TYPICAL_SIZE: Size = (1280, 720)
COMPUTED_KINDS = frozenset({"labels", "confidence", "objects"})


@dataclass(frozen=True, eq=False)
class Node:
    """The parts of one node, opened, warmed up and connected. The source starts with the first of ``scenes``."""

    config: NodeConfig
    policy: Policy
    source: Source
    engine: Engine
    network_size: Callable[[Size], Size]
    publisher: Publisher
    ledger: Ledger
    stop: Stop
    scenes: Generator[Scene, None, None]

    def halt(self) -> list[str]:
        """End every thread and free source and engine; the names of threads that had to be left behind.

        Frames that are still in flight are dropped as ``shutdown``. May be called twice.
        """
        self.stop.set()
        self.source.close()
        _close_engine(self.engine, self.stop)  # this releases stages that wait for it
        self.scenes.close()
        left = self.stop.join()
        self.ledger.drop_in_flight("shutdown")
        return left


@contextmanager
def build(
    config: NodeConfig, *, interrupt: threading.Event, tick: Callable[[str], None] = lambda _: None
) -> Iterator[Node]:
    """Put the parts of a node together: the only place where that happens. Leaving the context frees them.

    Args:
        interrupt: ends the opening of the parts, and every wait of the publisher, when it is set.
        tick: called every 100 ms while something is waited for, with what that is.

    Raises:
        Stopped: ``interrupt`` was set before the node was ready.
        RoadcastError: something cannot be opened, or the settings do not go together.
    """
    check_bindable(config.publish, insecure=config.insecure)  # before anything slow
    stop, ledger = Stop(THREADS_GRACE_S), Ledger()

    def opened(what: str, call: Callable[[], T], meanwhile: Callable[[], None] = lambda: None) -> T:
        def idle() -> None:
            tick(what)
            meanwhile()
            if interrupt.is_set():
                stop.set()

        return in_thread(call, stop=stop, name=what, idle=idle)

    with ExitStack() as parts:
        source = opened("opening the source", lambda: _open_source(config))
        parts.callback(source.close)
        policy = choose_policy(config, live=source.live)
        sheds = choose_shedding(config, policy, live=source.live)
        engine = opened("loading the model", lambda: _open_engine(config, live=source.live))
        parts.callback(_close_engine, engine, stop)
        size = choose_network_size(config, engine.spec)
        publisher = parts.enter_context(
            _closed_at_end(_open_publisher(config, source, engine, ledger, policy, interrupt))
        )
        opened("warming up the engine", lambda: _warm_up(engine, size(_first_size(source))), publisher.poll)
        decoded = threaded(
            _scenes_of(source, ledger, None if source.live else config.frames),
            stop=stop,
            name="decode",
            keep_latest=sheds,
            on_drop=lambda scene: ledger.drop(scene.frame.number, "stale"),
        )
        segmented = _accounted(segment(engine, size=size, wanted=lambda: computes(publisher), stop=stop), ledger)
        separated = objects(
            engine.spec.classes, wanted=lambda: "objects" in publisher.wanted, min_area=config.min_object_area
        )
        scenes = separated(segmented(scene.lap("wait_prepare") for scene in decoded))
        node = Node(
            config=config,
            policy=policy,
            source=source,
            engine=engine,
            network_size=size,
            publisher=publisher,
            ledger=ledger,
            stop=stop,
            scenes=threaded(scenes, stop=stop, name="collect", idle=lambda: tick("waiting for frames")),
        )
        parts.callback(node.halt)
        yield node


def _scenes_of(source: Source, ledger: Ledger, limit: int | None) -> Iterator[Scene]:
    """The first ``limit`` frames of a source, their time until here charged to ``decode``.

    What a frame that was due under ``rate`` waited for this loop to come back for it is ``wait_source``.
    """
    back_ns = time.monotonic_ns()
    for frame in islice(source.frames(ledger), limit):
        latency = Latency(frame.time.captured_mono_ns)
        if not source.live and back_ns > latency.mark_ns:
            latency = latency.lap("wait_source", back_ns)
        yield Scene(frame, latency).lap("decode")
        back_ns = time.monotonic_ns()


def _accounted(stage: Stage, ledger: Ledger) -> Stage:
    """The stage, with the frames that it holds when the engine fails counted as ``engine_error``."""

    def accounted(scenes: Iterable[Scene]) -> Iterator[Scene]:
        held: set[int] = set()

        def entering() -> Iterator[Scene]:
            for scene in scenes:
                held.add(scene.frame.number)
                yield scene

        try:
            for scene in stage(entering()):
                held.discard(scene.frame.number)
                yield scene
        except EngineError:
            for number in sorted(held.copy()):
                ledger.drop(number, "engine_error")
            raise

    return accounted


def computes(publisher: Publisher) -> bool:
    """Whether anybody wants what an engine computes."""
    return bool(publisher.wanted & COMPUTED_KINDS)


def _open_source(config: NodeConfig) -> Source:
    return open_source(config.source, stream=config.stream, pace=config.pace, rate=config.rate)


def _open_engine(config: NodeConfig, *, live: bool) -> Engine:
    return open_engine(
        config.engine,
        Path(config.model) if config.model else None,
        mode=choose_mode(config, live=live),
        threads=config.threads,
        slots=config.slots,
        device=config.device,
    )


def _close_engine(engine: Engine, stop: Stop) -> None:
    """Close an engine in a thread, for one that is stuck must not hold up the end."""
    with suppress(Stopped):
        in_thread(engine.close, stop=stop, name="closing the engine")


@contextmanager
def _closed_at_end(publisher: Publisher) -> Iterator[Publisher]:
    """Say whether it ended or failed, and close; an interruption is no failure."""
    try:
        yield publisher
    except Stopped:
        raise
    except BaseException:
        publisher.state = "failed"
        raise
    finally:
        publisher.close()


def _open_publisher(
    config: NodeConfig, source: Source, engine: Engine, ledger: Ledger, policy: Policy, interrupt: threading.Event
) -> Publisher:
    stream = StreamInfo(
        name=config.stream,
        ledger=ledger,
        expected_fps=config.rate or (source.fps if source.live or config.pace == "real" else None),
    )
    return Publisher(
        config.publish,
        [stream],
        spec=engine.spec,
        engine=engine.name,
        policy=policy,
        insecure=config.insecure,
        stop=interrupt,
    )


def _first_size(source: Source) -> Size:
    """The size of a recording's frames; a camera is not asked, because its frames do not come twice."""
    if not source.live:
        with suppress(SourceError):  # it will be met again, and told, when the frames are read
            for frame in source.frames(Ledger()):
                return frame.size
    return TYPICAL_SIZE


def _warm_up(engine: Engine, size: Size) -> None:
    """Fill all slots once: the first batches allocate, and some runtimes compile for the size they see."""
    black = np.zeros((engine.spec.batch or 1, size[1], size[0], 3), np.uint8)
    for pending in [engine.submit(black) for _ in range(engine.slots)]:
        pending.result()
