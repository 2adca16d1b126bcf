"""The node: its parts, put together in one function.

cameras ──> arrivals ──> prepare, submit ─q─> collect, void, objects, digest ─q─> publish
decode      sets         submit               collect                            the caller's thread, which
a thread each                                                                    owns the socket
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from perception.arrivals import Arrivals, Inflow
from perception.choices import (
    check_mixture,
    check_restart,
    choose_batch,
    choose_mode,
    choose_network_size,
    choose_policy,
    choose_shedding,
)
from perception.config import NodeConfig, Policy
from perception.engines.engine import Engine, Pending, ResizingEngine
from perception.engines.open import open_engine
from perception.errors import EngineError, SourceError
from perception.ledger import Ledger
from perception.pipeline import Stop, Stopped, in_thread, threaded
from perception.publisher import Publisher, StreamInfo
from perception.sources import Source
from perception.stages.judged import judged
from perception.stages.segment import Sets, segment_sets
from perception.stream import Stream, close_streams, open_streams
from perception.types import Scene, Size
from perception.wire.curve import ServerKeys
from perception.wire.endpoint import check_bindable

__all__ = ["Node", "NodeConfig", "build"]

T = TypeVar("T")

# Of the 2 s in which a node ends, its threads get this much; the rest is for the last messages on the socket.
THREADS_GRACE_S = 1.0
# What a camera most likely sends: for the warm-up, before its first frame tells.
TYPICAL_SIZE: Size = (1280, 720)
COMPUTED_KINDS = frozenset({"labels", "confidence", "objects", "summary"})


@dataclass(frozen=True, eq=False)
class Node:
    """The parts of one node, opened, warmed up and connected. The sources start with the first of ``scenes``."""

    config: NodeConfig
    policy: Policy
    streams: Mapping[str, Stream]
    engine: Engine
    network_size: Callable[[Size], Size]
    publisher: Publisher
    stop: Stop
    scenes: Generator[Scene, None, None]

    def interrupt(self) -> None:
        """Ask every thread to end, those too that wait for a camera. May be called twice."""
        self.stop.set()
        close_streams(self.streams.values())

    def halt(self) -> list[str]:
        """End every thread and free sources and engine; the names of threads that had to be left behind.

        Frames that are still in flight are dropped as ``shutdown``. May be called twice.
        """
        self.interrupt()
        _close_engine(self.engine, self.stop)  # this releases stages that wait for it
        self.scenes.close()
        left = self.stop.join()
        for stream in self.streams.values():
            stream.ledger.drop_in_flight("shutdown")
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
    keys = ServerKeys.load(config.curve_secret, config.allow)
    check_bindable(config.publish, insecure=config.insecure, guarded=keys is not None)  # before anything slow
    stop = Stop(THREADS_GRACE_S)

    def opened(what: str, call: Callable[[], T], meanwhile: Callable[[], None] = lambda: None) -> T:
        def idle() -> None:
            tick(what)
            meanwhile()
            if interrupt.is_set():
                stop.set()

        return in_thread(call, stop=stop, name=what, idle=idle)

    with ExitStack() as parts:
        streams = opened("opening the source", lambda: open_streams(config))
        parts.callback(close_streams, streams)
        live = any(stream.source.live for stream in streams)
        check_mixture(config, [stream.source.live for stream in streams])
        check_restart(config, live=live)
        policy = choose_policy(config, live=live)
        sheds = [choose_shedding(config, policy, live=stream.source.live) for stream in streams]
        engine = opened("loading the model", lambda: _open_engine(config, live=live))
        parts.callback(_close_engine, engine, stop)
        size, batch = choose_network_size(config, engine.spec), choose_batch(config, engine)
        bound = _open_publisher(config, keys, streams, engine, policy, interrupt)
        publisher = parts.enter_context(_closed_at_end(bound))
        first_size = _first_size(streams[0].source)
        opened("warming up the engine", lambda: _warm_up(engine, first_size, size, batch), publisher.poll)
        channels = publisher.channels
        arrivals = Arrivals(
            [
                Inflow(
                    stream.name,
                    stream.scenes(None if stream.source.live else config.frames),
                    stream.drop_stale if shedding else None,
                )
                for stream, shedding in zip(streams, sheds)
            ],
            stop=stop,
            tolerance_s=config.pair_tolerance,
            lossless=config.pace == "max" and not live,
        )
        segmented = segment_sets(
            engine, size=size, wanted=lambda name: bool(channels[name].wanted & COMPUTED_KINDS), batch=batch, stop=stop
        )
        scenes = _accounted(segmented, arrivals.sets(), {stream.name: stream.ledger for stream in streams})
        judge = judged(config, streams, engine.spec.classes, wanted=lambda name, kind: kind in channels[name].wanted)
        node = Node(
            config=config,
            policy=policy,
            streams={stream.name: stream for stream in streams},
            engine=engine,
            network_size=size,
            publisher=publisher,
            stop=stop,
            scenes=threaded(judge(scenes), stop=stop, name="collect", idle=lambda: tick("waiting for frames")),
        )
        parts.callback(node.halt)
        yield node


def _accounted(stage: Callable[[Sets], Iterator[Scene]], sets: Sets, ledgers: Mapping[str, Ledger]) -> Iterator[Scene]:
    """The scenes of a stage; those that it holds when the engine fails are counted as ``engine_error``."""
    held: set[tuple[str, int]] = set()

    def entering() -> Iterator[Sequence[Scene]]:
        for scenes in sets:
            held.update((scene.frame.stream, scene.frame.number) for scene in scenes)
            yield scenes

    try:
        for scene in stage(entering()):
            held.discard((scene.frame.stream, scene.frame.number))
            yield scene
    except EngineError:
        for name, number in sorted(held.copy()):
            ledgers[name].drop(number, "engine_error")
        raise


def computes(publisher: Publisher) -> bool:
    """Whether anybody wants what an engine computes."""
    return bool(publisher.wanted & COMPUTED_KINDS)


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
        publisher.close(failed=True)
        raise
    finally:
        publisher.close()


def _open_publisher(
    config: NodeConfig,
    keys: ServerKeys | None,
    streams: Sequence[Stream],
    engine: Engine,
    policy: Policy,
    interrupt: threading.Event,
) -> Publisher:
    paced = config.pace == "real"
    infos = [
        StreamInfo(
            name=stream.name,
            ledger=stream.ledger,
            expected_fps=config.rate or (stream.source.fps if stream.source.live or paced else None),
            camera=stream.config.calibration.to_wire() if stream.config.calibration else None,
        )
        for stream in streams
    ]
    return Publisher(
        config.publish,
        infos,
        spec=engine.spec,
        engine=engine.name,
        policy=policy,
        insecure=config.insecure,
        keys=keys,
        stop=interrupt,
    )


def _first_size(source: Source) -> Size:
    """The size of a recording's frames; a camera is not asked, because its frames do not come twice."""
    if not source.live:
        with suppress(SourceError):  # it will be met again, and told, when the frames are read
            for frame in source.frames(Ledger()):
                return frame.size
    return TYPICAL_SIZE


def _warm_up(engine: Engine, source_size: Size, size: Callable[[Size], Size], batch: int) -> None:
    """Fill all slots once: the first batches allocate, and some runtimes compile for the size they see."""
    network_size = size(source_size)
    width, height = source_size if isinstance(engine, ResizingEngine) else network_size
    black = np.zeros((batch, height, width, 3), np.uint8)

    def submit() -> Pending:
        if isinstance(engine, ResizingEngine):
            return engine.submit_resized(black, network_size)
        return engine.submit(black)

    for pending in [submit() for _ in range(engine.slots)]:
        pending.result()
