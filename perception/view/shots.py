"""What a view is made of: pictures on their way, one after the other, wherever they come from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from perception.classes import CITYSCAPES, ClassTable
from perception.types import Clock
from perception.view.picture import Picture

IMAGES_FPS = 10.0  # images of a folder carry no times: a video shows so many a second


@dataclass(frozen=True, slots=True, eq=False)
class Shot:
    """One picture of a stream, with what is known about its way here."""

    picture: Picture
    stream: str
    frame: int  # number in the source, from 0
    time_ns: int  # on the clock of the footage
    arrived_mono_ns: int
    latency_ms: float | None  # capture to here; None where the clocks cannot be compared
    dropped: int  # frames of the stream that were lost before here, for whatever reason, so far


@dataclass(slots=True)
class Feed:
    """Shots of one run, and what is known of the run as a whole; ``notes`` and ``table`` may change while it runs."""

    shots: Iterator[Shot]
    origin: str  # the source or endpoint, as a user may see it
    close: Callable[[], None]  # frees everything; the iterator ends
    expected: int | None = None  # shots to come, where that is known
    fps: float | None = None  # nominal, of the footage
    notes: list[str] = field(default_factory=list)  # what a user should know: the engine, a restart
    table: ClassTable = CITYSCAPES


def footage_time(clock: Clock, captured_ns: int, media_ns: int | None, frame: int) -> int:
    """When a frame was taken, nanoseconds: the container's time for a file, Unix time for a camera."""
    if clock == "wall":
        return captured_ns
    return round(frame * 1e9 / IMAGES_FPS) if media_ns is None else media_ns
