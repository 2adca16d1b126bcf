"""The newest status of a node, for threads that only read it: whether it is alive, and whether it is ready."""

from __future__ import annotations

import time
from collections.abc import Callable

from perception.summary import Status

HUNG_S = 10.0  # longer than any wait that is meant: a send waits up to 5 s for a slow subscriber


class Board:
    """Holds what the publishing thread showed last.

    That thread shows five times a second while it goes round, and a frame that is under way gets published sooner or
    later: a node that has not done either for ``HUNG_S`` hangs. A camera that is away, and subscribers that are
    waited for, are no such case, for then no frame is under way.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._beat_s = clock()
        self._published = -1
        self.status: Status | None = None

    def show(self, status: Status) -> None:
        """Take in how things stand. For the publishing thread."""
        published = status.ledger.published
        if published != self._published or not status.ledger.in_flight or not status.streams:
            self._beat_s = self._clock()
        self._published = published
        self.status = status

    @property
    def alive(self) -> bool:
        """Whether the node goes round and gets its frames out."""
        return self._clock() - self._beat_s < HUNG_S

    @property
    def ready(self) -> bool:
        """Whether subscribers are served: after the engine's warm-up and until the end."""
        return self.status is not None and bool(self.status.streams) and self.status.state not in ("ended", "failed")
