"""What a run measures: durations in bins of constant memory, rates over a window, processor time and memory."""

from __future__ import annotations

import math
import os
import time
from array import array
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from perception.types import Latency

WINDOW_S = 5.0  # what the live figures look back on
WINDOW_FRAMES = 1000
_BINS_PER_E = 100.0  # bins are 1 % wide
_BINS = 2800  # up to 1,400 s; what lasts longer is in the last one


@dataclass(frozen=True, slots=True)
class Quantiles:
    """Median, tails and maximum of some durations, in milliseconds; None where nothing was measured."""

    p50: float | None = None
    p95: float | None = None
    p99: float | None = None
    max: float | None = None


def _quantiles(quantile_ms: Callable[[float], float]) -> Quantiles:
    return Quantiles(quantile_ms(0.5), quantile_ms(0.95), quantile_ms(0.99), quantile_ms(1.0))


class Histogram:
    """Durations in bins 1 % wide: a run of any length takes the same memory, and quantiles are right within 1 %.

    All bins are there from the beginning: added one by one, those of a node's sixty histograms look like a leak of
    several megabytes in its first hour (measured).
    """

    def __init__(self) -> None:
        self._bins = array("Q", bytes(8 * _BINS))
        self._largest_ns = 0
        self.total_ns = 0
        self.count = 0

    def add(self, duration_ns: int) -> None:
        """Count one duration."""
        self._bins[min(int(math.log(max(duration_ns, 1)) * _BINS_PER_E), _BINS - 1)] += 1
        self._largest_ns = max(self._largest_ns, duration_ns)
        self.total_ns += duration_ns
        self.count += 1

    def up_to(self, bounds_ms: Sequence[float]) -> tuple[int, ...]:
        """How many durations did not exceed each of these bounds; right within the width of a bin."""
        found = [0] * len(bounds_ms)
        for index, count in enumerate(self._bins):
            if not count:
                continue
            middle_ms = math.exp((index + 0.5) / _BINS_PER_E) / 1e6
            for at, bound_ms in enumerate(bounds_ms):
                found[at] += count * (middle_ms <= bound_ms)
        return tuple(found)

    def quantile_ms(self, q: float) -> float:
        """The smallest duration in milliseconds that a share ``q`` of all does not exceed."""
        rank = max(1, math.ceil(q * self.count))
        if rank >= self.count:
            return self._largest_ns / 1e6
        seen = 0
        for index, count in enumerate(self._bins):
            seen += count
            if seen >= rank:
                return min(math.exp((index + 0.5) / _BINS_PER_E), self._largest_ns) / 1e6
        return self._largest_ns / 1e6

    def quantiles(self) -> Quantiles:
        """The usual four figures."""
        if not self.count:
            return Quantiles()
        return _quantiles(self.quantile_ms)


class Meter:
    """Counts published frames. The first one is kept apart: it pays for what happens only once."""

    def __init__(self) -> None:
        self.frames = 0
        self.first_frame_ms: float | None = None
        self.latency = Histogram()
        self.age = Histogram()  # from the grab to the moment at which the network begins with the frame
        self.stages: dict[str, Histogram] = {}
        self._window: deque[tuple[int, int]] = deque(maxlen=WINDOW_FRAMES)  # (published, latency) in ns
        self._first_ns = self._last_ns = 0

    def published(self, captured_mono_ns: int, latency: Latency) -> None:
        """A frame that was captured then is on its way now; ``latency`` says where the time went."""
        now, total = latency.mark_ns, latency.mark_ns - captured_mono_ns
        self.frames += 1
        self._last_ns = now
        if self.frames == 1:
            self._first_ns = now
            self.first_frame_ms = total / 1e6
            return
        self._window.append((now, total))
        self._forget(now)
        self.latency.add(total)
        age = 0
        for name, spent in latency.spent_ns.items():
            if name == "infer":
                self.age.add(age)
            age += spent
            if name not in self.stages:
                self.stages[name] = Histogram()
            self.stages[name].add(spent)

    @property
    def fps(self) -> float | None:
        """Frames a second from the first published frame to the last; None for fewer than two."""
        elapsed = self._last_ns - self._first_ns
        return (self.frames - 1) * 1e9 / elapsed if self.frames > 1 and elapsed > 0 else None

    def recent(self) -> tuple[float, Quantiles]:
        """Frames a second and latency over the last seconds."""
        now = time.monotonic_ns()
        self._forget(now)
        if not self._window:
            return 0.0, Quantiles()
        latencies = sorted(total for _, total in self._window)
        span = now - max(self._first_ns, self._window[0][0])
        rate = len(self._window) * 1e9 / span if span > 0 else 0.0
        return rate, _quantiles(lambda q: latencies[math.ceil(q * len(latencies)) - 1] / 1e6)

    def _forget(self, now: int) -> None:
        while self._window and now - self._window[0][0] > WINDOW_S * 1e9:
            self._window.popleft()


@dataclass(frozen=True, slots=True)
class Usage:
    """What this process used of its machine up to one moment."""

    wall_s: float
    cpu_s: float
    resident_mb: float | None = None

    @staticmethod
    def now() -> Usage:
        """The clocks as they stand."""
        return Usage(time.monotonic(), time.process_time(), resident_mb())

    def since(self, start: Usage, frames: int) -> Mapping[str, float | None]:
        """Seconds and processor seconds since ``start``, core-milliseconds a frame, the busy share of all cores,
        and the memory resident at ``start``, now, and at most ever; None for what cannot be told."""
        wall, cpu = self.wall_s - start.wall_s, self.cpu_s - start.cpu_s
        return {
            "seconds": wall,
            "cpu_s": cpu,
            "core_ms_per_frame": cpu * 1e3 / frames if frames else None,
            "busy": cpu / wall / cores() if wall > 0 else None,
            "cores": cores(),
            "resident_at_start_mb": start.resident_mb,
            "resident_mb": self.resident_mb,
            "peak_mb": peak_mb(),
        }


def cores() -> int:
    """Processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def resident_mb(pid: int | None = None) -> float | None:
    """Resident memory of a process, by default this one, in MB, where the system tells it in /proc."""
    return _status_mb("VmRSS", pid)


def peak_mb() -> float | None:
    """The most memory that was ever resident for this process, in MB.

    Not ``getrusage``: its maximum is inherited from the parent that started the process.
    """
    return _status_mb("VmHWM", None)


def _status_mb(field: str, pid: int | None) -> float | None:
    try:
        lines = Path(f"/proc/{pid or 'self'}/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    found = [line.split() for line in lines if line.startswith(f"{field}:")]
    return int(found[0][1]) * 1024 / 1e6 if found else None


def rounded(value: Any, digits: int) -> Any:
    """Plain values as JSON knows them: every float with so many digits behind the point, tuples as lists."""
    if isinstance(value, float):
        return round(value, digits)
    if isinstance(value, Mapping):
        return {key: rounded(item, digits) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [rounded(item, digits) for item in value]
    return value
