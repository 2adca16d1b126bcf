"""Where the frames of several cameras arrive, and how those of one moment are put into sets.

    camera a ── thread ──> place a ┐
    camera b ── thread ──> place b ┼──> sets ──> prepare, submit
    camera c ── thread ──> place c ┘

A place holds one frame. A file waits until it is free; a camera's newer frame takes it, and the older one
is dropped. So no camera can fill another's place, and one that is dead has nothing to be waited for.
A newer frame keeps the turn of the one that it replaced: else, under overload, a fast camera, whose frame is
always the newest, would never lead a set, and a slow one always. Turns go by when frames came, not by when they were
captured: else a camera whose frames are long on the way would be ahead of all others each time.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from perception.pipeline import WAKE_S, Stop, start
from perception.types import Pair, Scene

SECOND_NS = 1_000_000_000


@dataclass(frozen=True, eq=False)
class Inflow:
    """The frames of one camera, not yet started. ``on_drop`` gets what a newer frame replaced; None: wait instead.

    ``fps`` counts where sets are made by media time: a frame that has none has that of its number at this rate.
    """

    stream: str
    scenes: Iterable[Scene]
    on_drop: Callable[[Scene], None] | None = None
    fps: float = 1.0


class _Place:
    def __init__(self) -> None:
        self.scene: Scene | None = None
        self.turn = 0  # of the first frame that came since one left: the lowest leads a set
        self.ended = False
        self.error: BaseException | None = None  # that ended it
        self.last_ns: int | None = None  # capture time of the last frame that left
        self.period_ns = 0  # between the last two
        self.missed = False  # it was waited for in vain and has not come since


class Arrivals:
    """One place per camera, filled by threads that start with the first set.

    Args:
        tolerance_s: frames captured so close together belong to a set; 0: each is one. A set waits no longer than
            this for a camera from which a frame is due, counted from when its first frame came, and not at all for
            one that it waited for in vain before.
        lossless: for recordings as fast as they go: sets are made by media time, and wait for every recording
            that has not ended, so that they do not depend on how fast each is read.
    """

    def __init__(self, inflows: Sequence[Inflow], *, stop: Stop, tolerance_s: float, lossless: bool) -> None:
        self._inflows = tuple(inflows)
        self._stop = stop
        self._tolerance_ns = round(tolerance_s * SECOND_NS)
        self._lossless = lossless
        self._places = {inflow.stream: _Place() for inflow in inflows}
        self._periods_ns = {inflow.stream: SECOND_NS / inflow.fps for inflow in inflows}
        self._changed = threading.Condition()
        self._closed = False
        self._turns = 0  # that were given out

    def sets(self) -> Iterator[tuple[Scene, ...]]:
        """Sets of frames, at most one of each camera, each led by the one waiting longest; alone, a camera's frames.

        Raises whatever a camera's thread raised.
        """
        for inflow in self._inflows:
            self._start(inflow)
        number = 0
        try:
            while chosen := self._next_set():
                if len(self._places) > 1:
                    yield self._paired(chosen, number)
                else:
                    yield tuple(scene.lap("wait_prepare") for scene in chosen)
                number += 1
        finally:
            with self._changed:
                self._closed = True
                self._changed.notify_all()

    def _start(self, inflow: Inflow) -> None:
        place = self._places[inflow.stream]

        def put(scene: Scene) -> bool:
            with self._changed:
                while place.scene is not None and inflow.on_drop is None and not self._over():
                    self._changed.wait(WAKE_S)
                if self._over():
                    return False
                if place.scene is not None and inflow.on_drop is not None:
                    inflow.on_drop(place.scene)
                if place.scene is None:
                    self._turns += 1
                    place.turn = self._stamp(scene) if self._lossless else self._turns
                place.scene = scene
                self._changed.notify_all()
            return True

        def finish(error: BaseException | None) -> None:
            with self._changed:
                place.ended, place.error = True, error
                self._changed.notify_all()

        start(inflow.scenes, put, finish, stop=self._stop, name=f"decode {inflow.stream}")

    def _over(self) -> bool:
        return self._closed or self._stop.is_set()

    def _next_set(self) -> list[Scene]:
        """Wait for a frame and for those that belong to it; nothing at the end."""
        with self._changed:
            self._raise_errors()
            while not any(place.scene for place in self._places.values()):
                self._raise_errors()
                if self._over() or all(place.ended for place in self._places.values()):
                    return []
                self._changed.wait(WAKE_S)
            deadline_ns = time.monotonic_ns() + self._tolerance_ns
            while self._awaited() and not self._over():
                left_ns = deadline_ns - time.monotonic_ns()
                if not self._lossless and left_ns <= 0:
                    break
                self._changed.wait(WAKE_S if self._lossless else min(WAKE_S, left_ns / SECOND_NS))
            for place in self._awaited():
                place.missed = True
            return [self._leave(place) for place in self._chosen()]

    def _raise_errors(self) -> None:
        """Raise what ended a camera's thread, once its frames before that have left; others may have more."""
        for place in self._places.values():
            if place.error is not None and place.scene is None:
                raise place.error

    def _awaited(self) -> list[_Place]:
        """Empty places from which a frame of the set that is forming is due."""
        empty = [place for place in self._places.values() if place.scene is None and not place.ended]
        if self._lossless:
            return empty
        latest_ns = self._first_ns() + self._tolerance_ns
        return [
            place
            for place in empty
            if not place.missed and place.last_ns is not None and place.last_ns + place.period_ns <= latest_ns
        ]

    def _chosen(self) -> list[_Place]:
        """The places whose frames are the set."""
        if not self._tolerance_ns:  # recordings have frames of exactly the same time
            return [min((place for place in self._places.values() if place.scene), key=lambda place: place.turn)]
        first_ns = self._first_ns()
        return [place for place in self._places.values() if self._belongs(place, first_ns)]

    def _belongs(self, place: _Place, first_ns: int) -> bool:
        return place.scene is not None and 0 <= self._stamp(place.scene) - first_ns <= self._tolerance_ns

    def _leave(self, place: _Place) -> Scene:
        scene = place.scene
        assert scene is not None  # asked by _chosen
        at_ns = self._stamp(scene)
        place.period_ns = 0 if place.last_ns is None else at_ns - place.last_ns
        place.last_ns, place.scene, place.missed = at_ns, None, False
        self._changed.notify_all()
        return scene

    def _first_ns(self) -> int:
        """Capture time of the earliest frame that is in a set with the one whose turn it is."""
        full = [(place.turn, self._stamp(place.scene)) for place in self._places.values() if place.scene]
        _, leader_ns = min(full)
        return min(at_ns for _, at_ns in full if leader_ns - at_ns <= self._tolerance_ns)

    def _stamp(self, scene: Scene) -> int:
        times = scene.frame.time
        if not self._lossless:
            return times.captured_mono_ns
        if times.media_ns is not None:
            return times.media_ns
        return round(scene.frame.number * self._periods_ns[scene.frame.stream])

    def _paired(self, scenes: list[Scene], number: int) -> tuple[Scene, ...]:
        streams = tuple(scene.frame.stream for scene in scenes)
        first_ns = min(self._stamp(scene) for scene in scenes)
        return tuple(
            replace(
                scene.lap("wait_prepare"),
                pair=Pair(number, streams, self._stamp(scene) - first_ns, self._tolerance_ns),
            )
            for scene in scenes
        )
