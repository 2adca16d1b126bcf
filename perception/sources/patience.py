"""How long a camera is waited for, and in what rhythm it is tried again."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from perception.errors import SourceError

FIRST_PAUSE_S = 0.25
STEADY_S = 10.0  # a connection that lasted so long was a good one: the next pause is short again


@dataclass(frozen=True, slots=True)
class Patience:
    """The limits of a live source, in seconds. The defaults give up at once, as a tool that shows a camera does."""

    open_s: float = 10.0  # for connecting
    stall_s: float = 5.0  # connected, but without a frame
    give_up_s: float | None = 0.0  # away; None: never
    wait_for_first: bool = True  # whether a camera that was never there is tried again, too
    longest_pause_s: float = 3.0  # between two attempts


class Absence:
    """The times at which a camera is away, from the first to the last of a run.

    Pauses double from a quarter of a second up to the longest, each then cut by a random share of up to a half,
    so that a hundred nodes do not all come back to a camera at the same moment.
    """

    def __init__(
        self,
        patience: Patience,
        *,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._patience = patience
        self._clock = clock
        self._chance = chance
        self._since_s = clock()  # of the absence; the start counts as one
        self._here_s: float | None = None  # of the presence
        self._was_here = False
        self._doubled = 0
        self.attempts = 0  # of this absence that failed

    @property
    def away_s(self) -> float:
        """How long this absence has lasted."""
        return self._clock() - self._since_s

    def ends(self) -> bool:
        """A frame came. Returns whether this ends an absence in which an attempt had failed."""
        if self._here_s is not None:
            return False
        self._here_s, self._was_here = self._clock(), True
        return self.attempts > 0

    def goes_on(self, error: SourceError) -> float:
        """The camera went away, or could not be reached. Returns the pause before the next attempt, in seconds.

        Raises:
            SourceError: it is not to be tried again: the given one, with how long it was waited for.
        """
        now, limit_s = self._clock(), self._patience.give_up_s
        if self._here_s is not None:
            if now - self._here_s >= STEADY_S:
                self._doubled = 0
            self._here_s, self._since_s, self.attempts = None, now, 0
        self.attempts += 1
        if limit_s == 0 or not (self._was_here or self._patience.wait_for_first):
            raise error
        if limit_s is not None and self.away_s >= limit_s:
            raise SourceError(f"{error} Gave up after {self.away_s:.0f} s and {self.attempts} attempts.") from error
        pause_s = min(self._patience.longest_pause_s, FIRST_PAUSE_S * 2.0**self._doubled)
        self._doubled = min(self._doubled + 1, 30)
        return pause_s * (1 - self._chance() / 2)
