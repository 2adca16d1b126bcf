"""Frames of several cameras put into sets: by capture time, without waiting for the dead, and fairly."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from itertools import islice

import numpy as np
import pytest

from perception.arrivals import Arrivals, Inflow
from perception.pipeline import Stop
from perception.types import CaptureTime, Frame, Latency, Scene

MS = 1_000_000
PATIENCE_S = 20.0
PICTURE = np.zeros((2, 2, 3), np.uint8)


def scene(stream: str, number: int, at_ms: float, *, media: bool = False) -> Scene:
    """A frame that was grabbed (or has the media time of) so many milliseconds after an arbitrary start."""
    at_ns = round(at_ms * MS)
    times = CaptureTime(at_ns, number if media else at_ns, at_ns if media else None, "media" if media else "wall")
    return Scene(Frame(stream, number, times, PICTURE), Latency(time.monotonic_ns()))


def arrivals(
    *inflows: Inflow, tolerance_ms: float = 10, lossless: bool = False, stop: Stop | None = None
) -> Iterator[tuple[Scene, ...]]:
    return Arrivals(inflows, stop=stop or Stop(), tolerance_s=tolerance_ms / 1000, lossless=lossless).sets()


def waits_for(release: threading.Event) -> None:
    """Be silent until the test is through; if that takes too long, end with an error, which the test gets."""
    if not release.wait(PATIENCE_S):
        raise TimeoutError("the sets waited for a camera that is silent")


def numbers(chosen: tuple[Scene, ...]) -> dict[str, int]:
    return {found.frame.stream: found.frame.number for found in chosen}


def test_one_camera_comes_frame_by_frame_and_is_in_no_pair() -> None:
    found = list(arrivals(Inflow("a", [scene("a", k, 10 * k) for k in range(5)])))
    assert [numbers(chosen) for chosen in found] == [{"a": k} for k in range(5)]
    assert all(chosen[0].pair is None for chosen in found)
    assert all("wait_prepare" in chosen[0].latency.spent_ns for chosen in found)


def test_recordings_are_paired_by_media_time_however_fast_each_is_read() -> None:
    def slow() -> Iterator[Scene]:
        for k in range(6):
            time.sleep(0.01)
            yield scene("b", k, 40 * k + 3, media=True)

    fast = [scene("a", k, 40 * k, media=True) for k in range(6)]
    found = list(arrivals(Inflow("a", fast), Inflow("b", slow()), lossless=True))
    assert [numbers(chosen) for chosen in found] == [{"a": k, "b": k} for k in range(6)]
    pairs = [member.pair for chosen in found for member in chosen]
    assert [pair.number for pair in pairs if pair] == [k // 2 for k in range(12)]
    assert [pair.error_ns for pair in pairs if pair] == [0, 3 * MS] * 6
    assert {pair.tolerance_ns for pair in pairs if pair} == {10 * MS}
    assert {pair.streams for pair in pairs if pair} == {("a", "b")}


def test_recordings_of_different_rates_and_lengths_lose_nothing() -> None:
    quick = [scene("a", k, 20 * k, media=True) for k in range(8)]
    slow = [scene("b", k, 40 * k, media=True) for k in range(2)]
    found = [numbers(chosen) for chosen in arrivals(Inflow("a", quick), Inflow("b", slow), lossless=True)]
    assert found == [{"a": 0, "b": 0}, {"a": 1}, {"a": 2, "b": 1}, *({"a": k} for k in range(3, 8))]


def test_recordings_without_media_times_are_paired_by_number_and_rate() -> None:
    def pictures() -> Iterator[Scene]:
        for k in range(3):
            time.sleep(0.02)  # when it was read says nothing
            yield scene("b", k, time.monotonic_ns() / MS)

    video = (scene("a", k, 50 * k, media=True) for k in range(10**9))
    stop = Stop()
    sets = arrivals(Inflow("a", video), Inflow("b", pictures(), fps=10), lossless=True, stop=stop)
    found = [numbers(chosen) for chosen in islice(sets, 6)]
    stop.set()
    assert found == [{"a": 0, "b": 0}, {"a": 1}, {"a": 2, "b": 1}, {"a": 3}, {"a": 4, "b": 2}, {"a": 5}]
    assert stop.join() == []


def test_frames_further_apart_than_the_tolerance_are_sets_of_their_own() -> None:
    left = [scene("a", k, 40 * k, media=True) for k in range(3)]
    right = [scene("b", k, 40 * k + 15, media=True) for k in range(3)]
    found = [numbers(chosen) for chosen in arrivals(Inflow("a", left), Inflow("b", right), lossless=True)]
    assert found == [{"a": 0}, {"b": 0}, {"a": 1}, {"b": 1}, {"a": 2}, {"b": 2}]


def test_without_a_tolerance_nothing_is_paired_not_even_frames_of_the_same_time() -> None:
    left, right = ([scene(name, k, 40 * k, media=True) for k in range(3)] for name in "ab")
    found = list(arrivals(Inflow("a", left), Inflow("b", right), lossless=True, tolerance_ms=0))
    assert [numbers(chosen) for chosen in found] == [{"a": 0}, {"b": 0}, {"a": 1}, {"b": 1}, {"a": 2}, {"b": 2}]
    assert [chosen[0].pair.streams for chosen in found if chosen[0].pair] == [("a",), ("b",)] * 3


def test_a_dead_camera_is_waited_for_once_and_for_no_longer_than_the_tolerance() -> None:
    """A wait for each set would take longer than the dead camera's thread has patience for, and it says so."""
    stop = Stop()
    release = threading.Event()

    def dies() -> Iterator[Scene]:
        yield scene("b", 0, 0)
        yield scene("b", 1, 10)
        waits_for(release)

    living = (scene("a", k, 10 * k) for k in range(200))
    sets = arrivals(Inflow("a", living), Inflow("b", dies()), tolerance_ms=500, stop=stop)
    found = [numbers(next(sets)) for _ in range(150)]
    release.set()
    assert [chosen["a"] for chosen in found if "a" in chosen] == list(range(len([c for c in found if "a" in c])))
    assert sum("b" in chosen for chosen in found) == 2
    stop.set()
    assert list(sets) == []
    assert stop.join() == []


def test_a_camera_that_never_came_is_not_waited_for() -> None:
    release = threading.Event()

    def never() -> Iterator[Scene]:
        waits_for(release)
        yield from ()

    sets = arrivals(Inflow("a", [scene("a", k, k) for k in range(50)]), Inflow("b", never()), tolerance_ms=10_000_000)
    found = [numbers(next(sets)) for _ in range(50)]
    release.set()
    assert found == [{"a": k} for k in range(50)]
    assert list(sets) == []


def test_a_live_camera_keeps_its_newest_frame_and_a_file_waits() -> None:
    dropped: list[int] = []
    all_came = threading.Event()

    def live() -> Iterator[Scene]:
        yield from (scene("a", k, k) for k in range(10))
        all_came.set()

    handed: list[int] = []

    def file() -> Iterator[Scene]:
        for k in range(3):
            handed.append(k)
            yield scene("b", k, 1000 * k + 5000)

    sets = arrivals(
        Inflow("a", live(), on_drop=lambda old: dropped.append(old.frame.number)), Inflow("b", file()), tolerance_ms=1
    )
    first = next(sets)
    assert all_came.wait(PATIENCE_S)
    rest = [numbers(chosen) for chosen in sets]
    shown = [chosen["a"] for chosen in [numbers(first), *rest] if "a" in chosen]
    assert shown[-1] == 9
    assert sorted(dropped + shown) == list(range(10))
    assert [chosen["b"] for chosen in [numbers(first), *rest] if "b" in chosen] == [0, 1, 2]


@pytest.mark.parametrize("lossless", [False, True])
def test_what_breaks_one_camera_is_raised_while_another_goes_on(lossless: bool) -> None:
    def broken() -> Iterator[Scene]:
        yield scene("b", 0, 0, media=True)
        raise ZeroDivisionError

    stop = Stop()
    endless = (scene("a", k, 10 * k, media=True) for k in range(10**9))
    sets = arrivals(Inflow("a", endless), Inflow("b", broken()), lossless=lossless, stop=stop)
    found: list[dict[str, int]] = []

    def take() -> None:
        for chosen in islice(sets, 10**6):
            found.append(numbers(chosen))

    with pytest.raises(ZeroDivisionError):
        take()
    assert [chosen["b"] for chosen in found if "b" in chosen] == [0]  # what came before it is not lost
    stop.set()
    assert stop.join() == []


@pytest.mark.parametrize(
    ("bursts", "late_ms"),
    [
        ({"slow": 1, "fast": 2}, {}),
        ({"slow": 1, "medium": 3, "fast": 10}, {}),
        ({"near": 1, "far": 1}, {"far": 450}),
        ({"near": 2, "far": 1, "other": 1}, {"far": 1450}),
    ],
)
def test_no_camera_crowds_out_another(bursts: dict[str, int], late_ms: dict[str, int]) -> None:
    """Under overload, where each has a frame waiting whenever one is taken, they come in turn.

    Whatever their rates, and however long their frames were on the way here.
    """
    asked = {name: threading.Semaphore() for name in bursts}
    put = {name: threading.Semaphore(0) for name in bursts}

    def camera(stream: str) -> Iterator[Scene]:
        for moment in range(10**9):
            asked[stream].acquire()
            for k in range(bursts[stream]):
                number = moment * bursts[stream] + k
                yield scene(stream, number, 100 * moment + 90 * k / bursts[stream] - late_ms.get(stream, 0))
            put[stream].release()  # asked for the next: the last one is in its place

    stop = Stop()
    sets = arrivals(*[Inflow(name, camera(name), on_drop=lambda _: None) for name in bursts], tolerance_ms=0, stop=stop)
    next(sets)  # starts them
    came = []
    for _ in range(10 * len(bursts)):
        for name in bursts:
            assert put[name].acquire(timeout=PATIENCE_S)
        came += [tuple(numbers(next(sets)))]
        for name in bursts:
            asked[name].release()
    stop.set()
    for name in bursts:
        asked[name].release()  # who has already put what was asked for last waits to be asked again
    assert stop.join() == []
    assert Counter(came[len(bursts) :]) == {(name,): 9 for name in bursts}


def test_an_error_of_a_camera_thread_is_raised_here() -> None:
    def breaks() -> Iterator[Scene]:
        yield scene("b", 0, 0)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(arrivals(Inflow("a", []), Inflow("b", breaks())))


def test_closing_the_sets_ends_the_threads() -> None:
    stop = Stop()
    endless = (scene("a", k, k) for k in range(10**9))
    sets = arrivals(Inflow("a", endless), stop=stop)
    next(sets)
    sets.close()  # type: ignore[attr-defined]
    deadline = time.monotonic() + PATIENCE_S
    while any(thread.name == "decode a" for thread in threading.enumerate()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
