"""Going on at another place of a recording: asked for by one thread, done by the one that reads."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from perception.errors import RequestError
from perception.sources.source import Source


@dataclass(frozen=True, slots=True)
class Place:
    """One of the two: frame number ``frame`` of the recording, from 0, or the first frame at ``media_ns`` or later."""

    frame: int | None = None
    media_ns: int | None = None

    def __str__(self) -> str:
        return f"frame {self.frame}" if self.media_ns is None else f"{self.media_ns / 1e9:g} s"


@runtime_checkable
class Seekable(Source, Protocol):
    """A recording that can go on at another place. Numbers of frames go on counting, whatever the place."""

    def check(self, place: Place) -> None:
        """Find out whether ``seek`` could go there, and stay. Never blocks; for any thread.

        Raises:
            RequestError: the recording has no such place.
        """
        ...

    def seek(self, place: Place) -> None:
        """Grab the frame of this place next. Never blocks; for any thread. Raises as ``check``, and stays then."""
        ...


class Jump:
    """A place that was asked for and not gone to yet; the newest one, if there are several."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._place: Place | None = None

    @property
    def waiting(self) -> bool:
        """Whether there is one."""
        return self._place is not None

    def ask(self, place: Place) -> None:
        """Want the recording to go on there."""
        with self._lock:
            self._place = place

    def take(self) -> Place | None:
        """The place to go to, once."""
        with self._lock:
            place, self._place = self._place, None
            return place


def index_of(place: Place, *, fps: float | None, count: int | None, uri: str) -> int:
    """The number of a place's frame in a recording of even times.

    Raises:
        RequestError: it has no times (``fps`` is None), or ends before that place.
    """
    if place.frame is not None:
        index = place.frame
    elif fps is None:
        raise RequestError(f"{uri!r} has no times: seek by the number of a frame (--frame).")
    else:
        index = -(-(place.media_ns or 0) * round(fps * 1e6) // 10**15)  # upwards: the first frame at that time or later
    check_within(place, index, count, uri)
    return index


def check_within(place: Place, index: int, count: int | None, uri: str) -> None:
    """Raise RequestError if a recording of ``count`` frames (None: unknown) has none of this index."""
    if count is not None and index >= count:
        raise RequestError(f"{uri!r} has {count} frames, 0 to {count - 1}; {place} is behind its end.")
