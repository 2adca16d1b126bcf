"""Pacing, on a clock that only moves when the pacer sleeps or the test says so."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from perception.sources.pacing import CATCH_UP_NS, LONGEST_GAP_NS, SECOND_NS, Paced, Unpaced

MS = 1_000_000


@dataclass
class Clock:
    now_ns: int = 7 * SECOND_NS
    slept: list[float] = field(default_factory=list)
    closed: bool = False

    def read(self) -> int:
        return self.now_ns

    def pause(self, seconds: float) -> bool:
        self.slept.append(seconds)
        self.now_ns += round(seconds * SECOND_NS)
        return self.closed


def released(times: list[int | None], fps: float | None = 25.0, busy_ns: dict[int, int] | None = None) -> list[int]:
    """When each frame comes out, in ms after the first, if the consumer is busy that long after frame k."""
    clock = Clock()
    paced = Paced(fps, clock.pause, clock.read)
    out = []
    for position, media_ns in enumerate(times):
        assert paced.wait(media_ns)
        out.append(clock.now_ns)
        clock.now_ns += (busy_ns or {}).get(position, 0)
    return [round((time - out[0]) / MS) for time in out]


def test_the_first_frame_comes_at_once_whatever_its_time() -> None:
    clock = Clock()
    assert Paced(25.0, clock.pause, clock.read).wait(3600 * SECOND_NS)
    assert clock.slept == [0]


def test_frames_come_at_their_media_times_however_uneven() -> None:
    assert released([500 * MS, 540 * MS, 700 * MS, 701 * MS]) == [0, 40, 200, 201]


def test_a_time_out_of_order_comes_at_once_and_moves_nothing() -> None:
    assert released([0, 100 * MS, 50 * MS, 140 * MS]) == [0, 100, 100, 140]


def test_a_new_count_goes_on_after_one_period() -> None:
    assert released([9000 * MS, 9040 * MS, 0, 40 * MS]) == [0, 40, 80, 120]


def test_missing_times_cost_one_period_or_nothing() -> None:
    assert released([None, None, None]) == [0, 40, 80]
    assert released([None, None, None], fps=None) == [0, 0, 0]
    assert released([0, None, 80 * MS]) == [0, 40, 80]


def test_a_wrong_timestamp_does_not_stop_the_stream() -> None:
    assert released([0, 10**6 * SECOND_NS, 10**6 * SECOND_NS + 40 * MS]) == [0, 5000, 5040]
    assert LONGEST_GAP_NS == 5 * SECOND_NS


def test_a_little_lateness_is_made_up() -> None:
    times = [k * 40 * MS for k in range(6)]
    assert released(times, busy_ns={1: 90 * MS}) == [0, 40, 130, 130, 160, 200]


def test_a_long_delay_moves_the_schedule_and_makes_no_burst() -> None:
    times = [k * 40 * MS for k in range(5)]
    assert released(times, busy_ns={1: 1000 * MS}) == [0, 40, 1040, 1080, 1120]
    assert CATCH_UP_NS == 100 * MS


def test_closing_ends_the_wait() -> None:
    clock = Clock(closed=True)
    assert not Paced(25.0, clock.pause, clock.read).wait(0)


def test_at_full_speed_nothing_waits() -> None:
    assert Unpaced().wait(10**18)


@given(st.lists(st.one_of(st.none(), st.integers(-(10**12), 10**15)), min_size=1, max_size=30))
def test_no_timestamps_stall_or_reverse_the_schedule(times: list[int | None]) -> None:
    out = released(times)
    assert out == sorted(out)
    assert all(later - earlier <= 5000 for earlier, later in pairwise(out))
