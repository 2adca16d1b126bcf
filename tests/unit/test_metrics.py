"""Quantiles in constant memory, rates, and what a run's figures mean."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perception.metrics import Histogram, Meter, Quantiles, Usage, cores, peak_mb, resident_mb
from perception.types import Latency

MS = 1_000_000


@given(st.lists(st.integers(1, 10**11), min_size=1, max_size=200), st.sampled_from([0.0, 0.5, 0.95, 0.99, 1.0]))
def test_a_quantile_is_right_within_one_percent(durations: list[int], q: float) -> None:
    histogram = Histogram()
    for duration in durations:
        histogram.add(duration)
    exact = float(np.quantile(durations, q, method="inverted_cdf"))
    assert histogram.quantile_ms(q) * MS == pytest.approx(exact, rel=0.011, abs=1)


def test_nothing_measured_is_not_zero() -> None:
    assert Histogram().quantiles() == Quantiles()
    assert Meter().fps is None
    assert Meter().recent() == (0.0, Quantiles())


def test_the_first_frame_is_kept_apart() -> None:
    meter = Meter()
    start = time.monotonic_ns()
    meter.published(start, Latency(start + 900 * MS, {"infer": 900 * MS}))
    for k in range(1, 11):
        captured = start + 900 * MS + k * 50 * MS
        meter.published(captured, Latency(captured + 20 * MS, {"infer": 12 * MS, "decode": 8 * MS}))
    assert meter.first_frame_ms == pytest.approx(900)
    assert meter.latency.quantiles().max == pytest.approx(20)
    assert set(meter.stages) == {"infer", "decode"}
    assert meter.stages["infer"].quantile_ms(0.5) == pytest.approx(12, rel=0.01)
    assert meter.fps == pytest.approx(10 / 0.52)  # ten frames after the first, the last 520 ms behind it


def test_the_recent_window_forgets() -> None:
    meter = Meter()
    long_ago = time.monotonic_ns() - 60_000 * MS
    for k in range(5):
        meter.published(long_ago + k, Latency(long_ago + k + MS))
    assert meter.recent() == (0.0, Quantiles())
    now = time.monotonic_ns()
    meter.published(now - 30 * MS, Latency(now))
    rate, latency = meter.recent()
    assert rate > 0
    assert latency.p99 == pytest.approx(30)


def test_usage_is_a_difference() -> None:
    used = Usage(12.0, 6.0).since(Usage(10.0, 3.0), 1000)
    assert used["cpu_s"] == 3.0
    assert used["core_ms_per_frame"] == 3.0
    assert used["busy"] == pytest.approx(1.5 / cores())
    sizes = Usage(12.0, 6.0, 90.0).since(Usage(10.0, 3.0, 70.0), 1)
    assert (sizes["resident_at_start_mb"], sizes["resident_mb"]) == (70.0, 90.0)
    assert Usage(10.0, 3.0).since(Usage(10.0, 3.0), 0)["core_ms_per_frame"] is None


def test_resident_memory_is_plausible() -> None:
    resident = resident_mb()
    assert resident is None or 5 < resident < 100_000
    assert resident_mb(2**22 + 1) is None  # beyond the largest process id


def test_the_peak_remembers_what_was_freed() -> None:
    before, block = resident_mb(), np.ones(100_000_000, np.uint8)
    del block
    peak = peak_mb()
    assert (peak is None) == (before is None)
    assert before is None or peak is None or peak > before + 90
