"""When a frame of a recording is due: at once, or when as much real time has passed as media time."""

from __future__ import annotations

import time
from collections.abc import Callable

SECOND_NS = 1_000_000_000
# Lateness up to this is made up by the frames that follow, so that small delays do not add up over an
# hour. Beyond it the whole schedule moves: a consumer that was held up gets no burst of old frames.
CATCH_UP_NS = SECOND_NS // 10
# Times that run back by less than this are out of order; by more, a new count has begun.
DISORDER_NS = SECOND_NS
# A gap in the media times longer than this is cut to this: a wrong timestamp must not stop a node.
LONGEST_GAP_NS = 5 * SECOND_NS


class Unpaced:
    """Every frame is due at once."""

    def wait(self, media_ns: int | None) -> bool:  # noqa: ARG002  the same call as Paced has
        """Return at once; True means go on."""
        return True


class Paced:
    """Frames are due at their media times, counted from the first frame, which is due at once.

    A frame whose time is a little out of order comes at once; one without a time, or at the start of a new
    count, one nominal period after the one before it (at once where ``fps`` is unknown).
    ``pause(seconds)`` sleeps and returns True when the source was closed meanwhile, as
    ``threading.Event.wait`` does. A frame is never skipped.
    """

    def __init__(
        self, fps: float | None, pause: Callable[[float], bool], clock: Callable[[], int] = time.monotonic_ns
    ) -> None:
        self._period_ns = round(SECOND_NS / fps) if fps else 0
        self._pause = pause
        self._clock = clock
        self._due_ns: int | None = None
        self._media_ns: int | None = None

    def wait(self, media_ns: int | None) -> bool:
        """Sleep until the frame of this media time is due; False when the source was closed."""
        now = self._clock()
        if self._due_ns is None:
            self._due_ns, self._media_ns = now, media_ns
            return not self._pause(0)
        self._due_ns += self._gap(media_ns)
        if now - self._due_ns > CATCH_UP_NS:
            self._due_ns = now
        return not self._pause(max(0, self._due_ns - now) / SECOND_NS)

    def _gap(self, media_ns: int | None) -> int:
        before, self._media_ns = self._media_ns, media_ns
        if media_ns is None and before is not None:
            self._media_ns = before + self._period_ns  # where the schedule is, not what the frame is said to be
        if media_ns is None or before is None or media_ns < before - DISORDER_NS:
            return self._period_ns
        if media_ns < before:
            self._media_ns = before
            return 0
        return min(media_ns - before, LONGEST_GAP_NS)
