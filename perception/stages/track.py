"""Track: objects keep their numbers from frame to frame."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from perception.pipeline import Stage
from perception.tracking.clock import ContentClock
from perception.tracking.tracker import Tracker
from perception.types import Instances, Scene


def tracked() -> Stage:
    """The stage that gives the objects of every scene their tracks, stream by stream, in numbers from 1.

    A scene without objects passes as it is, and time goes on: while nobody wants objects nothing is tracked, and who
    comes back within the tracker's patience finds the tracks going on, as after dropped frames; later all are new.
    """

    def stage(scenes: Iterable[Scene]) -> Iterator[Scene]:
        states: dict[str, _State] = {}
        for scene in scenes:
            if scene.instances is None:
                yield scene
                continue
            state = states.setdefault(scene.frame.stream, _State())
            yield replace(scene, instances=state.follow(scene, scene.instances)).lap("track")

    return stage


@dataclass(slots=True)
class _State:
    """What is remembered of one stream."""

    tracker: Tracker = field(default_factory=Tracker)
    clock: ContentClock = field(default_factory=ContentClock)

    def follow(self, scene: Scene, instances: Instances) -> Instances:
        seconds = self.clock.step(scene.frame.time)
        if seconds is None:
            self.tracker.forget()
        assert scene.segmentation is not None  # objects are cut out of it
        height, width = scene.segmentation.labels.shape
        tracks = self.tracker.follow(
            instances.boxes / np.array([width, height, width, height]),
            instances.class_ids,
            seconds=seconds or 1.0,
            pixel=(1 / width, 1 / height),
            ids=instances.ids,
        )
        return replace(instances, tracks=tracks)
