"""How much time lies between two frames, by the clock that orders their content."""

from __future__ import annotations

from dataclasses import dataclass

from perception.types import CaptureTime

SECOND_NS = 1_000_000_000
USUAL_S = 0.04  # between two frames, before there is a better guess
JUMP_BACK_S = 1.0  # what runs backwards by more is another place of the recording, not disorder


@dataclass(slots=True)
class ContentClock:
    """Steps from frame to frame, always positive.

    A time that stands still or runs backwards a little, as broken containers have it, counts as a step of the usual
    length: the last one that was positive.
    """

    _last: tuple[str, int] | None = None
    _usual_s: float = USUAL_S

    def step(self, time: CaptureTime) -> float | None:
        """Seconds since the last frame; None for the first one, and after a jump back: a loop, or a seek."""
        now = content_time(time)
        before, self._last = self._last, now
        if before is None or before[0] != now[0]:
            return None
        seconds = (now[1] - before[1]) / SECOND_NS
        if seconds < -JUMP_BACK_S:
            return None
        if seconds > 0:
            self._usual_s = min(seconds, 1.0)
            return seconds
        return self._usual_s


def content_time(time: CaptureTime) -> tuple[str, int]:
    """The name of the clock and the nanoseconds that it shows: the media's own time, a recording's, or the grab's."""
    if time.media_ns is not None and time.clock != "wall":
        return "media", time.media_ns
    if time.original_ns is not None:
        return "recorded", time.original_ns
    return "grab", time.captured_mono_ns
