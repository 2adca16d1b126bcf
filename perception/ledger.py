"""The count of every frame of one stream: captured = published + in flight + dropped by reason."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

DropReason = Literal["stale", "decode_error", "engine_error", "shutdown"]
DROP_REASONS: tuple[DropReason, ...] = get_args(DropReason)


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """The ledger at one moment."""

    captured: int
    published: int
    in_flight: int
    dropped: Mapping[str, int]

    @property
    def balanced(self) -> bool:
        """Whether every captured frame is accounted for."""
        return self.captured == self.published + self.in_flight + sum(self.dropped.values())


def total(entries: Iterable[LedgerEntry]) -> LedgerEntry:
    """The sum over several streams."""
    captured = published = in_flight = 0
    dropped: Counter[str] = Counter()
    for entry in entries:
        captured, published = captured + entry.captured, published + entry.published
        in_flight += entry.in_flight
        dropped.update(entry.dropped)
    return LedgerEntry(captured, published, in_flight, dict(dropped))


class Ledger:
    """Counts the frames of one stream; safe to call from any thread.

    Frames in flight are kept by number, not computed as a remainder: a frame that is published twice,
    dropped after it was published, or never captured is an error at the place where it happens.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: set[int] = set()
        self._captured = 0
        self._published = 0
        self._dropped: Counter[str] = Counter()

    def capture(self, number: int) -> None:
        """A frame of this number was grabbed."""
        with self._lock:
            if number in self._open:
                raise ValueError(f"frame {number} is already in flight")
            self._open.add(number)
            self._captured += 1

    def publish(self, number: int) -> None:
        """The messages of this frame were handed to the socket."""
        with self._lock:
            self._close(number)
            self._published += 1

    def drop(self, number: int, reason: DropReason) -> None:
        """This frame is lost, for this reason."""
        with self._lock:
            self._close(number)
            self._dropped[reason] += 1

    def drop_in_flight(self, reason: DropReason) -> int:
        """Drop whatever is still in flight, at the end of a run; returns how many frames that was."""
        with self._lock:
            count = len(self._open)
            self._open.clear()
            if count:
                self._dropped[reason] += count
            return count

    @property
    def in_flight(self) -> int:
        """Frames that were captured and neither published nor dropped so far."""
        with self._lock:
            return len(self._open)

    def entry(self) -> LedgerEntry:
        """A consistent copy of all counts."""
        with self._lock:
            return LedgerEntry(self._captured, self._published, len(self._open), dict(self._dropped))

    def _close(self, number: int) -> None:
        if number not in self._open:
            raise ValueError(f"frame {number} is not in flight")
        self._open.remove(number)
