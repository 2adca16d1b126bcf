"""Pacing, on a clock that only moves when the pacer sleeps or the test says so."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from perception.sources.pacing import CATCH_UP_NS, LONGEST_GAP_NS, SECOND_NS, Paced, Scheduled, Unpaced, pacer

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
        assert paced.wait(media_ns, position)
        out.append(clock.now_ns)
        clock.now_ns += (busy_ns or {}).get(position, 0)
    return [round((time - out[0]) / MS) for time in out]


def test_the_first_frame_comes_at_once_whatever_its_time() -> None:
    clock = Clock()
    assert Paced(25.0, clock.pause, clock.read).wait(3600 * SECOND_NS, 0)
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
    assert not Paced(25.0, clock.pause, clock.read).wait(0, 0)
    assert not Scheduled(25.0, clock.pause, clock.read).wait(0, 0)


def test_at_full_speed_nothing_waits() -> None:
    assert Unpaced().wait(10**18, 0)


def scheduled(rate: float, busy_ns: list[int]) -> list[tuple[int, int]]:
    """(released, counted as grabbed) of each frame, ns after the first, if frame k keeps its consumer that long."""
    clock = Clock()
    schedule = Scheduled(rate, clock.pause, clock.read)
    start, out = clock.now_ns, []
    for number, busy in enumerate(busy_ns):
        assert schedule.wait(None, number)
        out.append((clock.now_ns - start, schedule.grab("media").captured_mono_ns - start))
        clock.now_ns += busy
    return out


def test_a_stall_is_charged_to_every_frame_that_it_delayed() -> None:
    """A loop that starts its clock when it comes round would report one slow frame; three were late."""
    times = [(a / MS, due / MS) for a, due in scheduled(10.0, [0, 250 * MS, 0, 0, 0, 0])]
    assert times == [(0, 0), (100, 100), (350, 200), (350, 300), (400, 400), (500, 500)]


def test_waiting_twice_for_one_frame_moves_nothing() -> None:
    clock = Clock()
    schedule = Scheduled(10.0, clock.pause, clock.read)
    start = clock.now_ns
    for number in (0, 0, 0, 1):
        assert schedule.wait(77, number)
    assert schedule.grab("media", 5).captured_mono_ns == start + 100 * MS
    assert schedule.grab("media", 5).media_ns == 5


def test_a_frame_that_was_not_waited_for_is_grabbed_now() -> None:
    clock = Clock()
    assert Scheduled(10.0, clock.pause, clock.read).grab("media").captured_mono_ns == clock.now_ns


@settings(deadline=None)
@given(st.floats(0.1, 10_000), st.lists(st.integers(0, 3 * SECOND_NS), min_size=1, max_size=50))
def test_the_schedule_depends_on_nothing_but_the_rate(rate: float, busy_ns: list[int]) -> None:
    out = scheduled(rate, busy_ns)
    assert [due for _, due in out] == [round(number * SECOND_NS / rate) for number in range(len(out))]
    assert all(released >= due - 1 for released, due in out)  # sleeping is rounded to a nanosecond


def test_both_clocks_tell_the_same_moment() -> None:
    schedule = Scheduled(1000.0, lambda _: False)  # never sleeps: the frame is due in a hundred seconds
    schedule.wait(None, 0)
    schedule.wait(None, 100_000)
    time_ = schedule.grab("media")
    ahead_unix, ahead_mono = time_.captured_ns - time.time_ns(), time_.captured_mono_ns - time.monotonic_ns()
    assert abs(ahead_unix - ahead_mono) < 10 * SECOND_NS
    assert ahead_mono > 50 * SECOND_NS


def test_a_rate_takes_the_place_of_either_pace() -> None:
    assert isinstance(pacer("real", 9.0, 30.0, bool), Scheduled)
    assert isinstance(pacer("real", None, 30.0, bool), Paced)
    assert isinstance(pacer("max", None, 30.0, bool), Unpaced)


@settings(deadline=None)
@given(st.lists(st.one_of(st.none(), st.integers(-(10**12), 10**15)), min_size=1, max_size=30))
def test_no_timestamps_stall_or_reverse_the_schedule(times: list[int | None]) -> None:
    out = released(times)
    assert out == sorted(out)
    assert all(later - earlier <= 5000 for earlier, later in pairwise(out))
