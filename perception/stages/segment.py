"""Segment: run the network on every frame, with inference overlapping all that happens around it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, suppress
from dataclasses import replace
from threading import Event

from perception.engines.engine import Engine, Pending
from perception.errors import EngineError
from perception.pipeline import Stage, Stop, threaded
from perception.stages.prepare import prepare
from perception.types import Scene, Segmentation, Size


def segment(
    engine: Engine,
    *,
    size: Callable[[Size], Size] | None = None,
    wanted: Callable[[], bool] = lambda: True,
    stop: Stop | None = None,
) -> Stage:
    """The stage that gives every scene its segmentation, while ``wanted()`` is true; others pass in their place.

    Frames are prepared and submitted in a thread upstream of one queue, results collected downstream of
    it: as many frames are under way as the engine has slots. The time of each frame is charged to
    ``prepare``, ``submit`` (waiting for a slot), ``wait_infer``, ``infer`` and ``wait_collect``.

    Args:
        engine: stays open; whoever opened it closes it.
        size: from the frame's (w, h) to the network's; None for what the model card says.
        stop: of the pipeline this stage is part of.

    Raises:
        EngineError: while iterating, when the engine fails.
    """

    def stage(scenes: Iterable[Scene]) -> Iterator[Scene]:
        waiting: deque[Pending] = deque()
        ended = Event()
        network_size = size or engine.spec.network_size
        submitted = threaded(_submit(engine, scenes, network_size, wanted, waiting, ended), stop=stop, name="submit")
        try:
            for scene, pending in submitted:
                if pending is None:
                    yield scene
                    continue
                outputs = pending.result()
                waiting.popleft()
                segmentation = Segmentation(
                    outputs["labels"][0], outputs["confidence"][0] if "confidence" in outputs else None
                )
                timed = scene.lap("wait_infer", pending.started_ns).lap("infer", pending.finished_ns)
                yield replace(timed.lap("wait_collect"), segmentation=segmentation)
        finally:
            ended.set()
            with closing(submitted):
                _collect(waiting)  # the thread upstream may be waiting for one of their slots
            _collect(waiting)

    return stage


def _submit(
    engine: Engine,
    scenes: Iterable[Scene],
    size: Callable[[Size], Size],
    wanted: Callable[[], bool],
    waiting: deque[Pending],
    ended: Event,
) -> Iterator[tuple[Scene, Pending | None]]:
    for scene in scenes:
        if not wanted():
            yield scene, None
            continue
        frames = prepare(scene.frame.image, size(scene.frame.size))[None]  # (1, h, w, 3)
        prepared = scene.lap("prepare")
        if ended.is_set():
            return
        pending = engine.submit(frames)
        waiting.append(pending)
        yield prepared.lap("submit"), pending


def _collect(waiting: deque[Pending]) -> None:
    """Give back the slots of batches that nobody wants any more."""
    while waiting:
        with suppress(EngineError):
            waiting.popleft().result()
