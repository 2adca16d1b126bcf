"""The back-pressure of every engine: a bounded number of batches between submit and result."""

from __future__ import annotations

import threading

from perception.errors import EngineError


class Slots:
    """A count of free slots that a caller waits for, and that can be closed under who waits."""

    def __init__(self, count: int, engine: str) -> None:
        self._free = count
        self._engine = engine
        self._closed = False
        self._changed = threading.Condition(threading.RLock())  # a slot may be given back by the collector, anywhere

    def take(self) -> Slot:
        """Wait until a slot is free, and take it. Raises EngineError once closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._free > 0)
            if self._closed:
                raise closed(self._engine)
            self._free -= 1
        return Slot(self)

    def give(self) -> None:
        """Count one slot as free again."""
        with self._changed:
            self._free += 1
            self._changed.notify()

    def close(self) -> None:
        """Release everyone who waits."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()


class Slot:
    """One slot that was taken. It gives itself back when nobody refers to it any more: a consumer that
    gave up must not leave the producer waiting for ever."""

    def __init__(self, slots: Slots) -> None:
        self._slots: Slots | None = slots

    def give(self) -> None:
        """Give the slot back; a second call does nothing."""
        slots, self._slots = self._slots, None
        if slots is not None:
            slots.give()

    def __del__(self) -> None:
        self.give()


def closed(engine: str) -> EngineError:
    """What a caller gets from an engine that was closed under it."""
    return EngineError(f"The engine {engine!r} was closed while a batch waited for it.")
