"""When a frame of a recording is due: at once, or when as much real time has passed as media time."""

from __future__ import annotations

import time
from collections.abc import Callable

SECOND_NS = 1_000_000_000
# Lateness up to this is made up by the frames that follow, so that small delays do not add up over an
# hour. Beyond it the whole schedule moves: a consumer that was held up gets no burst of old frames.
CATCH_UP_NS = SECOND_NS // 10
# A gap in the media times longer than this is cut to this: a wrong timestamp must not stop a node.
LONGEST_GAP_NS = 5 * SECOND_NS


class Unpaced:
    """Every frame is due at once."""

    def wait(self, media_ns: int | None) -> bool:  # noqa: ARG002  the same call as Paced has
        """Return at once; True means go on."""
        return True


class Paced:
    """Frames are due at their media times, counted from the first frame, which is due at once.

    Time that runs backwards or is missing costs one nominal period (nothing where ``fps`` is unknown).
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
        if media_ns is not None:
            self._media_ns = media_ns
        if now - self._due_ns > CATCH_UP_NS:
            self._due_ns = now
        return not self._pause(max(0, self._due_ns - now) / SECOND_NS)

    def _gap(self, media_ns: int | None) -> int:
        if media_ns is None or self._media_ns is None:
            return self._period_ns
        gap = media_ns - self._media_ns
        return self._period_ns if gap < 0 else min(gap, LONGEST_GAP_NS)
