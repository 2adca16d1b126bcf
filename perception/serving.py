"""Which model a node runs, and its change for another one between two sets of frames.

    submit ── current() ──> collect ──> publish ── reached(number)
       ^                                    │
    offer(), from whoever has loaded        └──> what is not needed any more, to be closed

Every scene carries the number of the model that it was submitted to. Scenes keep their order, so when the first one of
a new model is published, nothing is left of the old one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from perception.engines.engine import Engine, ModelSpec
from perception.types import Size


@dataclass(frozen=True, eq=False)
class Serving:
    """A model at work: its engine, the rule from a frame's (w, h) to the network's, and frames a run at most.

    ``number`` is 0 for the model that a node begins with and grows with each that takes its place.
    """

    engine: Engine
    network_size: Callable[[Size], Size]
    batch: int = 1
    number: int = 0


class Models:
    """The models of one node: the one that frames are submitted to, and those whose frames are still under way.

    Safe to call from any thread.
    """

    def __init__(self, first: Serving) -> None:
        self._lock = threading.Lock()
        self._submitting = first
        self._offered: Serving | None = None
        self._published = first
        self._known = {first.number: first}
        self._last = first.number
        self._closed = False

    @property
    def published(self) -> Serving:
        """The model of the frames that are published now."""
        with self._lock:
            return self._published

    def spec(self, number: int) -> ModelSpec:
        """The model that the scenes of this number were submitted to, until a later one was reached."""
        with self._lock:
            return self._known[number].engine.spec

    def next_number(self) -> int:
        """A number for a model that is about to be offered."""
        with self._lock:
            self._last += 1
            return self._last

    def offer(self, serving: Serving) -> list[Engine]:
        """Submit the next set of frames to this model; its number is above all before.

        Returns the engines to close instead: that of an offer which no frame came for, or this one after ``close``.
        """
        with self._lock:
            if self._closed:
                return [serving.engine]
            unused, self._offered = self._offered, serving
            return [] if unused is None else [unused.engine]

    def current(self) -> Serving:
        """The model for the set of frames that is submitted next; for the one thread that submits."""
        with self._lock:
            if self._offered is not None:
                self._submitting, self._offered = self._offered, None
                self._known[self._submitting.number] = self._submitting
            return self._submitting

    def reached(self, number: int) -> list[Engine]:
        """Note that a scene of this model is published now; the engines that are not needed any more, to be closed."""
        with self._lock:
            if number == self._published.number:
                return []
            self._published = self._known[number]
            return [self._known.pop(other).engine for other in sorted(self._known) if other < number]

    def close(self) -> list[Engine]:
        """Take no offer any more; the engines to close. May be called twice."""
        with self._lock:
            self._closed = True
            unused = [] if self._offered is None else [self._offered.engine]
            return [*(serving.engine for serving in self._known.values()), *unused]
