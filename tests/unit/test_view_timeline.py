"""Presentation times from the frames' own times."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from perception.view.video import Timeline

MS = 1_000_000


def placed(*times_ms: float) -> list[float]:
    timeline = Timeline()
    return [timeline.place(round(t * MS)) / MS for t in times_ms]


def test_times_are_kept_and_begin_at_zero() -> None:
    assert placed(1000, 1040, 1100, 5000) == [0, 40, 100, 4000]


def test_small_disorder_is_clamped_and_time_catches_up() -> None:
    assert placed(0, 80, 40, 120, 160) == [0, 80, 81, 120, 160]


def test_a_clip_that_starts_again_goes_on_one_step_later() -> None:
    assert placed(0, 40, 5040, 5080, 5120, 0, 40) == [0, 40, 5040, 5080, 5120, 5160, 5200]


@given(st.lists(st.integers(-(10**12), 10**12), min_size=1, max_size=60))
def test_presentation_always_advances(times: list[int]) -> None:
    timeline = Timeline()
    out = [timeline.place(t) for t in times]
    assert out[0] == 0
    assert all(b >= a + MS for a, b in pairwise(out))
