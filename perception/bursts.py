"""Bursts of dropped frames: noticed when they begin, and said once."""

from __future__ import annotations

from perception.ledger import Ledger, LedgerEntry

WINDOW_S = 1.0
FEWEST = 5  # drops in a window that make a burst,
SHARE = 0.25  # if they are this much of what was captured in it


class BurstWatch:
    """Compares a ledger with itself one second ago.

    A burst is a second in which at least 5 frames and a quarter of those captured were dropped. It goes on
    while the seconds that follow are so, too, and is told once.
    """

    def __init__(self) -> None:
        self._since_s: float | None = None
        self._before = LedgerEntry(0, 0, 0, {})
        self._bursting = False

    def look(self, now_s: float, ledger: Ledger) -> dict[str, object] | None:
        """What to say of a burst that began in the second that is over by now, if one is and one did."""
        if self._since_s is not None and now_s - self._since_s < WINDOW_S:
            return None
        entry, before, since_s = ledger.entry(), self._before, self._since_s
        self._before, self._since_s = entry, now_s
        if since_s is None:
            return None
        dropped = {reason: count - before.dropped.get(reason, 0) for reason, count in entry.dropped.items()}
        captured, lost = entry.captured - before.captured, sum(dropped.values())
        began = not self._bursting
        self._bursting = lost >= FEWEST and lost >= SHARE * captured
        if not (self._bursting and began):
            return None
        return {
            "seconds": round(now_s - since_s, 3),
            "captured": captured,
            "dropped": {reason: count for reason, count in dropped.items() if count},
        }
