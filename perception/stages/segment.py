"""Segment: run the network on every frame, with inference overlapping all that happens around it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from threading import Event

import numpy as np

from perception.engines.engine import Batch, Engine, Outputs, Pending, ResizingEngine
from perception.errors import EngineError
from perception.pipeline import Stage, Stop, threaded
from perception.serving import Serving
from perception.stages.prepare import prepare
from perception.types import Detections, Image, Scene, Segmentation, Size

Sets = Iterable[Sequence[Scene]]


def segment(
    engine: Engine,
    *,
    size: Callable[[Size], Size] | None = None,
    wanted: Callable[[str], bool] = lambda _: True,
    stop: Stop | None = None,
) -> Stage:
    """The stage that gives every scene its segmentation. See ``segment_sets``; each scene is a set of its own.

    ``size`` goes from the frame's (w, h) to the network's; None for what the model card says.
    """
    serving = Serving(engine, size or engine.spec.network_size)
    stage = segment_sets(lambda: serving, wanted=wanted, stop=stop)
    return lambda scenes: stage((scene,) for scene in scenes)


def segment_sets(
    current: Callable[[], Serving],
    *,
    wanted: Callable[[str], bool] = lambda _: True,
    stop: Stop | None = None,
) -> Callable[[Sets], Iterator[Scene]]:
    """What gives every scene of every set its segmentation, while ``wanted(stream)`` is true; others pass as they are.

    Frames are prepared and submitted in a thread upstream of one queue, results collected downstream of
    it: as many batches are under way as the engine has slots. The time of each frame is charged to
    ``prepare`` (nothing, where the engine resizes), ``wait_batch`` (for the others of its batch), ``submit``
    (waiting for a slot), ``wait_infer``, ``infer`` and ``wait_collect``.

    Args:
        current: the model for the next set, asked for each; its number is written on every scene of the set. Its
            engine stays open; whoever opened it closes it. ``batch`` frames of one set, and of one network size,
            go into one run of the network at most. A model with a fixed batch gets that many, black ones where
            there are fewer.
        stop: of the pipeline this is part of.

    Raises:
        EngineError: while iterating, when the engine fails.
    """

    def stage(sets: Sets) -> Iterator[Scene]:
        waiting: deque[Pending] = deque()
        ended = Event()
        submitted = threaded(_submit(current, sets, wanted, waiting, ended), stop=stop, name="submit")
        try:
            for scenes, pending, network_size in submitted:
                if pending is None:
                    yield from scenes
                    continue
                outputs = pending.result()
                waiting.popleft()
                for position, scene in enumerate(scenes):
                    timed = scene.lap("wait_infer", pending.started_ns).lap("infer", pending.finished_ns)
                    enhanced = outputs["image"][position] if "image" in outputs else None
                    segmentation = _segmentation(outputs, position, network_size)
                    yield replace(timed.lap("wait_collect"), segmentation=segmentation, enhanced=enhanced)
        finally:
            ended.set()
            with closing(submitted):
                _collect(waiting)  # the thread upstream may be waiting for one of their slots
            _collect(waiting)

    return stage


def _segmentation(outputs: Outputs, position: int, network_size: Size) -> Segmentation:
    """What a batch's outputs say about one of its frames; boxes are in pixels of the network's frame."""
    optional = ("confidence", "ids", "id_scores", "probabilities")
    rest = {name: outputs[name][position] for name in optional if name in outputs}
    labels = outputs["labels"][position]
    if "boxes" not in outputs:
        return Segmentation(labels, **rest)
    # Behind an enhancement the network saw the picture that this made.
    width, height = network_size if "image" not in outputs else outputs["image"].shape[2:0:-1]
    scale = np.array([labels.shape[1] / width, labels.shape[0] / height] * 2, np.float32)
    found = {name: outputs[name][position] for name in ("scores", "class_ids", "masks")}
    return Segmentation(labels, **rest, detections=Detections(outputs["boxes"][position] * scale, **found))


def _submit(
    current: Callable[[], Serving],
    sets: Sets,
    wanted: Callable[[str], bool],
    waiting: deque[Pending],
    ended: Event,
) -> Iterator[tuple[Sequence[Scene], Pending | None, Size]]:
    for unmarked in sets:
        serving = current()
        engine, size = serving.engine, serving.network_size
        resizing = engine if isinstance(engine, ResizingEngine) else None
        scenes = [replace(scene, model=serving.number) for scene in unmarked]
        resting = [scene for scene in scenes if not wanted(scene.frame.stream)]
        if resting:
            yield resting, None, (0, 0)
        limit = engine.spec.batch or serving.batch
        for group in _groups([scene for scene in scenes if scene not in resting], size, limit):
            network_size = size(group[0].frame.size)
            as_they_are = resizing is not None and len({scene.frame.size for scene in group}) == 1
            images: list[Image] = []
            prepared: list[Scene] = []
            for scene in group:
                begun = scene.lap("wait_batch") if prepared else scene
                image = scene.frame.image
                images.append(image if as_they_are else prepare(image, network_size))
                prepared.append(begun.lap("prepare"))
            if len(group) > 1:
                prepared = [scene.lap("wait_batch") for scene in prepared]
            if ended.is_set():
                return
            frames = _stacked(images, engine.spec.batch)
            pending = resizing.submit_resized(frames, network_size) if resizing else engine.submit(frames)
            waiting.append(pending)
            yield [scene.lap("submit") for scene in prepared], pending, network_size


def _groups(scenes: Sequence[Scene], size: Callable[[Size], Size], limit: int) -> Iterator[Sequence[Scene]]:
    """The scenes in groups of one network size, at most ``limit`` in each."""
    by_size: dict[Size, list[Scene]] = {}
    for scene in scenes:
        by_size.setdefault(size(scene.frame.size), []).append(scene)
    for alike in by_size.values():
        for start in range(0, len(alike), limit):
            yield alike[start : start + limit]


def _stacked(images: Sequence[Image], fixed: int | None) -> Batch:
    """(N, h, w, 3), filled up with black where the model's batch is fixed."""
    if len(images) == 1 and fixed in (None, 1):
        return images[0][None]
    batch = np.zeros((fixed or len(images), *images[0].shape), np.uint8)
    for position, image in enumerate(images):
        batch[position] = image
    return batch


def _collect(waiting: deque[Pending]) -> None:
    """Give back the slots of batches that nobody wants any more."""
    while waiting:
        with suppress(EngineError):
            waiting.popleft().result()
