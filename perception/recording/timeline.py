"""When the messages of a recording are due again: at the distances at which they were published."""

from __future__ import annotations

from perception.wire.message import Message

# A clock that was set, or a host that booted in between, makes gaps that nobody wants to wait for.
LONGEST_JUMP_NS = 5_000_000_000


class Timeline:
    """Places messages on one clock that starts at 0 and never runs backwards.

    Distances are those of the node's monotonic clock. Where a message comes from another boot, only the Unix
    clocks can tell, and these may have been set; so such a distance is cut to 5 s.
    """

    def __init__(self) -> None:
        self._boot = b""
        self._anchor_ns = 0  # of the monotonic clock of this boot, where the timeline has its 0
        self._unix_ns = 0
        self._place_ns = 0

    def place(self, message: Message) -> float:
        """Seconds after the first message at which this one is due."""
        header = message.header
        mono, unix = header.time.published_mono_ns, header.time.published_ns
        if header.boot != self._boot:
            jump = min(max(0, unix - self._unix_ns), LONGEST_JUMP_NS) if self._boot else 0
            self._boot, self._anchor_ns = header.boot, mono - self._place_ns - jump
        self._unix_ns = unix
        self._place_ns = max(self._place_ns, mono - self._anchor_ns)
        return self._place_ns / 1e9
