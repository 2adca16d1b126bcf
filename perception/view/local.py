"""Shots of a source, computed in this process: the stages of a node without a socket."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from contextlib import ExitStack
from itertools import islice

from perception.choices import choose_network_size, open_node_engine
from perception.config import NodeConfig
from perception.ledger import Ledger
from perception.pipeline import Stop
from perception.sources import Source, open_source
from perception.stages.objects import objects
from perception.stages.segment import segment
from perception.types import Latency, Scene
from perception.view.picture import picture_from_scene
from perception.view.shots import Feed, Shot, footage_time


def shots_of_source(config: NodeConfig) -> Feed:
    """Open the source and the engine of ``config`` and run every frame through them.

    A file is read as fast as it can be drawn, and no frame of it is lost. After all that could be read,
    the iterator raises SourceError where the source ended early.

    Raises:
        RequestError: there is no such source, engine or model.
        SourceError: the source cannot be read.
    """
    with ExitStack() as parts:
        source = open_source(config.source, stream=config.stream, pace=config.pace)
        parts.callback(source.close)
        engine = open_node_engine(config, live=source.live)
        parts.callback(engine.close)
        stop, ledger = Stop(), Ledger()
        segmented = segment(engine, size=choose_network_size(config, engine.spec), stop=stop)
        separated = objects(engine.spec.classes, min_area=config.min_object_area)
        shots = _shots(separated(segmented(_scenes(source, ledger, config.frames))), ledger)
        parts.callback(shots.close)
        parts.callback(stop.set)
        close = parts.pop_all().close
    counts = [count for count in (source.promised, config.frames) if count is not None]
    return Feed(shots, source.uri, close, min(counts, default=None), source.fps, [engine.reason], engine.spec.classes)


def _scenes(source: Source, ledger: Ledger, limit: int | None) -> Iterator[Scene]:
    for frame in islice(source.frames(ledger), limit):
        yield Scene(frame, Latency(frame.time.captured_mono_ns)).lap("decode")


def _shots(scenes: Iterator[Scene], ledger: Ledger) -> Generator[Shot, None, None]:
    for scene in scenes:
        frame, arrived_ns = scene.frame, time.monotonic_ns()
        ledger.publish(frame.number)
        yield Shot(
            picture_from_scene(scene),
            frame.stream,
            frame.number,
            footage_time(frame.time.clock, frame.time.captured_ns, frame.time.media_ns, frame.number),
            arrived_ns,
            (arrived_ns - frame.time.captured_mono_ns) / 1e6,
            sum(ledger.entry().dropped.values()),
        )
