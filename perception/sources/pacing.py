"""When a frame of a recording is due: at once, when as much real time has passed as media time, or at a given rate."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from perception.sources.source import Pace
from perception.types import CaptureTime, Clock

SECOND_NS = 1_000_000_000
# Lateness up to this is made up by the frames that follow, so that small delays do not add up over an
# hour. Beyond it the whole schedule moves: a consumer that was held up gets no burst of old frames.
CATCH_UP_NS = SECOND_NS // 10
# Times that run back by less than this are out of order; by more, a new count has begun.
DISORDER_NS = SECOND_NS
# A gap in the media times longer than this is cut to this: a wrong timestamp must not stop a node.
LONGEST_GAP_NS = 5 * SECOND_NS


class Pacer(Protocol):
    """Tells a source when to grab its next frame, and what time that frame counts as grabbed at."""

    def wait(self, media_ns: int | None, number: int) -> bool:
        """Sleep until frame ``number``, of this media time, is due; False when the source was closed."""
        ...

    def grab(self, clock: Clock, media_ns: int | None = None) -> CaptureTime:
        """The capture time of the frame that was waited for last."""
        ...


def pacer(pace: Pace, rate: float | None, fps: float | None, pause: Callable[[float], bool]) -> Pacer:
    """What a source follows: ``rate`` where one is given, else its media times or, under ``max``, nothing.

    ``pause(seconds)`` sleeps and returns True when the source was closed meanwhile, as ``threading.Event.wait`` does.
    """
    if rate is not None:
        return Scheduled(rate, pause)
    return Paced(fps, pause) if pace == "real" else Unpaced()


class Unpaced:
    """Every frame is due at once."""

    def wait(self, media_ns: int | None, number: int) -> bool:  # noqa: ARG002  the same call as the others have
        """Return at once; True means go on."""
        return True

    def grab(self, clock: Clock, media_ns: int | None = None) -> CaptureTime:
        """Now."""
        return CaptureTime.now(media_ns, clock)


class Scheduled:
    """An open loop: frame ``k`` is due ``k / rate`` seconds after frame 0, whatever became of those before it.

    A frame counts as grabbed when it was due, not when the source got round to it. So the time that it spent
    waiting for a source that was held up is part of its latency, and a stall is charged to every frame that
    it delayed, which a loop that starts its clock late leaves out (coordinated omission: G. Tene, "How NOT to
    measure latency"). The schedule never moves; a source that is late releases frames without a pause until it has
    caught up.
    """

    def __init__(
        self, rate: float, pause: Callable[[float], bool], clock: Callable[[], int] = time.monotonic_ns
    ) -> None:
        self._rate = rate
        self._pause = pause
        self._clock = clock
        self._start_ns: int | None = None
        self._due_ns = 0

    def wait(self, media_ns: int | None, number: int) -> bool:  # noqa: ARG002  the same call as the others have
        """Sleep until frame ``number`` is due; False when the source was closed."""
        now = self._clock()
        self._due_ns = self._started(now) + round(number * SECOND_NS / self._rate)
        return not self._pause(max(0, self._due_ns - now) / SECOND_NS)

    def grab(self, clock: Clock, media_ns: int | None = None) -> CaptureTime:
        """The moment at which the frame was due, on both clocks; now where none was waited for yet."""
        now = self._clock()
        due_ns = max(self._due_ns, self._started(now))
        return CaptureTime(time.time_ns() - (now - due_ns), due_ns, media_ns, clock)

    def _started(self, now: int) -> int:
        if self._start_ns is None:
            self._start_ns = now
        return self._start_ns


class Paced:
    """Frames are due at their media times, counted from the first frame, which is due at once.

    A frame whose time is a little out of order comes at once; one without a time, or at the start of a new
    count, one nominal period after the one before it (at once where ``fps`` is unknown). A frame is never skipped.
    """

    def __init__(
        self, fps: float | None, pause: Callable[[float], bool], clock: Callable[[], int] = time.monotonic_ns
    ) -> None:
        self._period_ns = round(SECOND_NS / fps) if fps else 0
        self._pause = pause
        self._clock = clock
        self._due_ns: int | None = None
        self._media_ns: int | None = None

    def wait(self, media_ns: int | None, number: int) -> bool:  # noqa: ARG002  the same call as the others have
        """Sleep until the frame of this media time is due; False when the source was closed."""
        now = self._clock()
        if self._due_ns is None:
            self._due_ns, self._media_ns = now, media_ns
            return not self._pause(0)
        self._due_ns += self._gap(media_ns)
        if now - self._due_ns > CATCH_UP_NS:
            self._due_ns = now
        return not self._pause(max(0, self._due_ns - now) / SECOND_NS)

    def grab(self, clock: Clock, media_ns: int | None = None) -> CaptureTime:
        """Now: a frame that a held-up source releases late is a late frame of the schedule, which may have moved."""
        return CaptureTime.now(media_ns, clock)

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
