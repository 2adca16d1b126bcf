"""The node: its parts, put together in one function.

cameras ──> arrivals ──> prepare, submit ─q─> collect, void, objects, digest ─q─> publish
decode      sets         submit               collect                            the caller's thread, which
a thread each                                                                    owns the socket
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from typing import TypeVar

from perception.arrivals import Arrivals, Inflow
from perception.choices import (
    check_mixture,
    check_refinement,
    check_restart,
    choose_batch,
    choose_network_size,
    choose_policy,
    choose_shedding,
    open_node_engine,
)
from perception.config import NodeConfig, Policy
from perception.control.place import check_control
from perception.engines.engine import Engine
from perception.pipeline import Stop, Stopped, in_thread, start, threaded
from perception.publisher import Publisher
from perception.publishing import closed_at_end, computed_kinds, open_publisher
from perception.serving import Models, Serving
from perception.sources.images import REAL_PACE_FPS
from perception.stages.accounted import accounted
from perception.stages.judged import judged
from perception.stages.segment import segment_sets
from perception.stream import Stream, close_streams, open_streams
from perception.types import Scene, Size
from perception.warmup import first_size, warm_up
from perception.wire.curve import ServerKeys
from perception.wire.endpoint import check_bindable

__all__ = ["Node", "NodeConfig", "build"]

T = TypeVar("T")

# Of the 2 s in which a node ends, its threads get this much; the rest is for the last messages on the socket.
THREADS_GRACE_S = 1.0


@dataclass(frozen=True, eq=False)
class Node:
    """The parts of one node, opened, warmed up and connected. The sources start with the first of ``scenes``."""

    config: NodeConfig
    policy: Policy
    streams: Mapping[str, Stream]
    models: Models
    publisher: Publisher
    stop: Stop
    scenes: Generator[Scene, None, None]

    @property
    def engine(self) -> Engine:
        """What makes the frames that are published now."""
        return self.models.published.engine

    @property
    def network_size(self) -> Callable[[Size], Size]:
        """The rule from a frame's (w, h) to the network's, of the model that is published now."""
        return self.models.published.network_size

    @property
    def live(self) -> bool:
        """Whether a camera is among the sources."""
        return any(stream.source.live for stream in self.streams.values())

    def publish(self, scene: Scene) -> None:
        """Publish a scene; where it is the first of another model, say that before it."""
        unused = self.models.reached(scene.model)
        if unused:
            self.publisher.change(self.engine.spec, self.engine.name, fell_back=self.engine.fell_back)
            close_later(unused, self.stop)
        stream = self.streams[scene.frame.stream]
        self.publisher.channels[stream.name].camera_fell_back = stream.fell_back(scene.frame.size)
        self.publisher.publish(scene)

    def load(self, model: str | None) -> Serving:
        """Open and warm up a model that can take the place of the one at work. For any thread; takes a while.

        Raises:
            RoadcastError: it cannot be loaded, or does not go together with the node's settings.
        """
        engine = open_node_engine(replace(self.config, model=model), live=self.live)
        try:
            check_refinement(self.config, engine.spec)
            serving = Serving(
                engine,
                choose_network_size(self.config, engine.spec),
                choose_batch(self.config, engine),
                self.models.next_number(),
            )
            for size in {stream.size for stream in self.streams.values()}:
                warm_up(serving, size)
        except BaseException:
            engine.close()
            raise
        return serving

    def interrupt(self) -> None:
        """Ask every thread to end, those too that wait for a camera. May be called twice."""
        self.stop.set()
        close_streams(self.streams.values())

    def halt(self) -> list[str]:
        """End every thread and free sources and engine; the names of threads that had to be left behind.

        Frames that are still in flight are dropped as ``shutdown``. May be called twice.
        """
        self.interrupt()
        for engine in self.models.close():
            _close_engine(engine, self.stop)  # this releases stages that wait for it
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
    check_control(config, guarded=keys is not None)
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
        engine = opened("loading the model", lambda: open_node_engine(config, live=live))
        parts.callback(_close_engine, engine, stop)
        check_refinement(config, engine.spec)
        serving = Serving(engine, choose_network_size(config, engine.spec), choose_batch(config, engine))
        models = Models(serving)
        bound = open_publisher(config, keys, streams, engine, policy, interrupt)
        publisher = parts.enter_context(closed_at_end(bound))
        size = first_size(streams[0].source)
        opened("warming up the engine", lambda: warm_up(serving, size), publisher.poll)
        channels = publisher.channels
        arrivals = Arrivals(
            [
                Inflow(
                    stream.name,
                    stream.scenes(None if stream.source.live else config.frames),
                    stream.drop_stale if shedding else None,
                    stream.source.fps or REAL_PACE_FPS,
                )
                for stream, shedding in zip(streams, sheds)
            ],
            stop=stop,
            tolerance_s=config.pair_tolerance,
            lossless=config.pace == "max" and not live,
        )
        segmented = segment_sets(
            models.current,
            wanted=lambda name: bool(channels[name].wanted & computed_kinds(models.published.engine.spec)),
            stop=stop,
        )
        ledgers = {stream.name: stream.ledger for stream in streams}
        scenes = accounted(segmented, arrivals.sets(), ledgers, stop=stop)
        judge = judged(
            config,
            streams,
            lambda number: models.spec(number).classes,
            wanted=lambda name, kind: kind in channels[name].wanted,
        )
        node = Node(
            config=config,
            policy=policy,
            streams={stream.name: stream for stream in streams},
            models=models,
            publisher=publisher,
            stop=stop,
            scenes=threaded(judge(scenes), stop=stop, name="collect", idle=lambda: tick("waiting for frames")),
        )
        parts.callback(node.halt)
        yield node


def _close_engine(engine: Engine, stop: Stop) -> None:
    """Close an engine in a thread, for one that is stuck must not hold up the end."""
    with suppress(Stopped):
        in_thread(engine.close, stop=stop, name="closing the engine")


def close_later(engines: Sequence[Engine], stop: Stop) -> None:
    """Close engines in a thread, which nobody waits for but the end of the node."""

    def close(engine: Engine) -> bool:
        engine.close()
        return True

    start(engines, close, lambda _: None, stop=stop, name="closing the engine")
