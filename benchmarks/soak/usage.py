"""What the node and its captures take of the machine over time, and whether that grows."""

from __future__ import annotations

import math
import os
import statistics
import time
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from cast import Node

from perception.metrics import resident_mb

HTTP_PATIENCE_S = 10.0


@dataclass(frozen=True, slots=True)
class Sample:
    """One look at the node and the processes that capture for it."""

    at_s: float  # since the beginning of the soak
    node_mb: float
    captures: int
    captures_mb: float
    node_files: int
    capture_files: int
    threads: int
    cpu_s: float  # of the node with its captures, ended ones too
    healthy: bool  # /healthz says 200
    balanced: bool  # the ledger that /metrics tells


@dataclass(frozen=True, slots=True)
class Growth:
    """A straight line through samples: units an hour, with the standard error of that, and where it begins."""

    per_hour: float
    error: float
    first: float
    samples: int


def look(node: Node, began_s: float) -> Sample:
    """Take a sample."""
    pid, captures = node.process.pid, node.captures
    return Sample(
        at_s=round(time.monotonic() - began_s, 3),
        node_mb=round(resident_mb(pid) or math.nan, 3),
        captures=len(captures),
        captures_mb=round(sum(resident_mb(capture) or 0.0 for capture in captures), 3),
        node_files=_open_files(pid),
        capture_files=sum(_open_files(capture) for capture in captures),
        threads=_entries(f"/proc/{pid}/task"),
        cpu_s=_cpu_s(pid, with_ended_children=True) + sum(_cpu_s(capture) for capture in captures),
        healthy=_get(node.metrics, "healthz") is not None,
        balanced=_balanced(_get(node.metrics, "metrics") or ""),
    )


def growth(times_s: Sequence[float], values: Sequence[float]) -> Growth | None:
    """Least squares through the samples; None for fewer than ten."""
    if len(values) < 10:
        return None
    hours, levels = np.asarray(times_s) / 3600, np.asarray(values, np.float64)
    (slope, start), covariance = np.polyfit(hours, levels, 1, cov=True)
    return Growth(float(slope), float(math.sqrt(covariance[0, 0])), float(start + slope * hours[0]), len(values))


def rise(values: Sequence[int]) -> float | None:
    """By how much the median of the last quarter is above that of the first; None for fewer than twelve."""
    quarter = len(values) // 4
    if quarter < 3:
        return None
    return statistics.median(values[-quarter:]) - statistics.median(values[:quarter])


def _open_files(pid: int) -> int:
    return _entries(f"/proc/{pid}/fd")


def _entries(folder: str) -> int:
    try:
        return sum(1 for _ in Path(folder).iterdir())
    except OSError:
        return 0


def _cpu_s(pid: int, *, with_ended_children: bool = False) -> float:
    try:
        words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    own = sum(int(word) for word in words[11 : 15 if with_ended_children else 13])
    return own / os.sysconf("SC_CLK_TCK")


def _get(address: str, path: str) -> str | None:
    try:
        with urllib.request.urlopen(f"http://{address}/{path}", timeout=HTTP_PATIENCE_S) as answer:
            text: str = answer.read().decode()
            return text
    except OSError:
        return None


def _balanced(metrics: str) -> bool:
    """Whether captured = published + in flight + dropped for each stream, and there is one."""
    sums: dict[str, float] = {}
    for line in metrics.splitlines():
        name, _, rest = line.partition("{")
        kind = name.removeprefix("roadcast_frames_")
        if kind in ("captured_total", "published_total", "in_flight", "dropped_total"):
            stream = rest.partition('stream="')[2].partition('"')[0]
            value = float(line.rpartition(" ")[2])
            sums[stream] = sums.get(stream, 0.0) + (value if kind == "captured_total" else -value)
    return bool(sums) and not any(sums.values())
