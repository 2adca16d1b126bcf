"""Frame rate and latency over the last few seconds, for people to read."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

_WINDOW = 300  # frames
_HOLD_NS = 500_000_000  # figures change twice a second: faster cannot be read


@dataclass(frozen=True, slots=True)
class Stats:
    """What the stats strip shows of one frame; None where it is not known."""

    stream: str
    frame: int  # number in the source, from 0
    time_s: float | None = None  # since the first frame, on the clock of the footage
    fps: float | None = None
    p50_ms: float | None = None  # latency, capture to here
    p99_ms: float | None = None
    dropped: int = 0  # frames captured and not shown, for whatever reason


class Meter:
    """Collects the arrival of frames; ``stats`` gives figures over the last 300 of them."""

    def __init__(self) -> None:
        self._arrivals: deque[int] = deque(maxlen=_WINDOW)
        self._latencies: deque[float] = deque(maxlen=_WINDOW)
        self._read_ns = 0
        self._figures: tuple[float | None, float | None, float | None] = (None, None, None)

    def add(self, arrived_mono_ns: int, latency_ms: float | None) -> None:
        """A frame arrived at this monotonic time, so many milliseconds after its capture (None: not comparable)."""
        self._arrivals.append(arrived_mono_ns)
        if latency_ms is not None:
            self._latencies.append(latency_ms)
        if arrived_mono_ns - self._read_ns >= _HOLD_NS or self._figures[0] is None:
            self._read_ns = arrived_mono_ns
            self._figures = (self.fps(), *self.latency_ms())

    def fps(self) -> float | None:
        """Frames a second over the window; None before the second frame."""
        span = self._arrivals[-1] - self._arrivals[0] if len(self._arrivals) > 1 else 0
        return (len(self._arrivals) - 1) * 1e9 / span if span > 0 else None

    def latency_ms(self) -> tuple[float | None, float | None]:
        """Median and 99th percentile over the window."""
        if not self._latencies:
            return None, None
        p50, p99 = np.percentile(self._latencies, (50, 99))
        return float(p50), float(p99)

    def stats(self, stream: str, frame: int, time_s: float | None, dropped: int) -> Stats:
        """The strip for this frame, with figures that hold still for half a second."""
        return Stats(stream, frame, time_s, *self._figures, dropped)
