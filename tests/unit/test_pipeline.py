"""Links between stages: order, errors, closing, live queues, and a ledger that balances whatever happens."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perception.ledger import Ledger
from perception.pipeline import Stop, Stopped, each, in_thread, threaded
from perception.types import CaptureTime, Frame, Latency, Scene

IMAGE = np.zeros((2, 2, 3), np.uint8)
ENDED_S = 20.0  # generous: a loaded machine may take this long to end its threads


def scene(number: int) -> Scene:
    now = CaptureTime.now()
    return Scene(Frame("front", number, now, IMAGE), Latency(now.captured_mono_ns))


def numbers(start: int = 0) -> Iterator[int]:
    while True:
        yield start
        start += 1


def alive(prefix: str) -> list[str]:
    """Names of running threads that start with ``prefix``, after giving them time to end."""
    deadline = time.monotonic() + ENDED_S
    while names := [t.name for t in threading.enumerate() if t.name.startswith(prefix)]:
        if time.monotonic() > deadline:
            break
        time.sleep(0.001)
    return names


def test_each_applies_a_function_to_every_scene() -> None:
    marked = list(each(lambda s: s.lap("mark"))([scene(0), scene(1)]))
    assert [s.frame.number for s in marked] == [0, 1]
    assert all(set(s.latency.spent_ns) == {"mark"} for s in marked)


def test_a_link_keeps_every_item_in_order() -> None:
    assert list(threaded(threaded(range(200), size=2), size=3)) == list(range(200))


def test_upstream_runs_in_a_thread_of_the_given_name() -> None:
    def name() -> Iterator[str]:
        yield threading.current_thread().name

    assert list(threaded(name(), name="decode")) == ["decode"]


def test_a_link_runs_at_most_its_size_ahead() -> None:
    made: list[int] = []

    def items() -> Iterator[int]:
        for number in range(50):
            made.append(number)
            yield number

    link = threaded(items(), size=2)
    assert next(link) == 0
    time.sleep(0.1)
    assert len(made) <= 4  # one taken, two in the queue, one in the producer's hand
    link.close()


def test_an_error_comes_after_the_items_before_it() -> None:
    def items() -> Iterator[int]:
        yield from range(3)
        raise OSError("unplugged")

    got: list[int] = []
    with pytest.raises(OSError, match="unplugged"):
        got.extend(threaded(threaded(items())))
    assert got == [0, 1, 2]


def test_closing_the_consumer_stops_and_closes_an_endless_producer() -> None:
    closed_in: list[str] = []

    def items() -> Iterator[int]:
        try:
            yield from numbers()
        finally:
            closed_in.append(threading.current_thread().name)

    stop = Stop()
    chain = threaded(threaded(items(), stop=stop, name="closing-1"), stop=stop, name="closing-2")
    assert [next(chain), next(chain)] == [0, 1]
    chain.close()
    assert alive("closing-") == []
    assert closed_in == ["closing-1"]


def test_a_thread_that_never_ends_is_given_up_at_the_one_deadline() -> None:
    release = threading.Event()

    def stuck() -> Iterator[int]:
        yield 0
        release.wait(60)

    stop = Stop(grace_s=0.3)
    chain = threaded(threaded(threaded(stuck(), stop=stop, name="stuck"), stop=stop), stop=stop)
    assert next(chain) == 0
    started = time.monotonic()
    chain.close()
    assert time.monotonic() - started < ENDED_S  # not a minute, and not one grace for every link
    assert stop.join() == ["stuck"]
    release.set()
    assert alive("stuck") == []


def test_stop_ends_a_consumer_that_waits_for_a_silent_producer() -> None:
    release = threading.Event()

    def silent() -> Iterator[int]:
        release.wait(60)
        yield 0

    stop = Stop(grace_s=0.1)
    threading.Timer(0.05, stop.set).start()
    assert list(threaded(silent(), stop=stop)) == []
    release.set()


def test_a_waiting_consumer_does_its_idle_work() -> None:
    rounds: list[str] = []

    def late() -> Iterator[int]:
        while len(rounds) < 2:
            time.sleep(0.01)
        yield 7

    assert list(threaded(late(), idle=lambda: rounds.append(threading.current_thread().name))) == [7]
    assert set(rounds) == {threading.current_thread().name}


def test_an_error_in_idle_work_ends_the_pipeline() -> None:
    release = threading.Event()

    def silent() -> Iterator[int]:
        while not release.is_set():
            time.sleep(0.01)
        yield 0

    def idle() -> None:
        release.set()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(threaded(silent(), idle=idle, name="idling"))
    assert alive("idling") == []


def test_a_live_link_keeps_the_newest_and_hands_over_what_it_drops() -> None:
    produced = threading.Event()
    dropped: list[int] = []

    def items() -> Iterator[int]:
        yield from range(100)
        produced.set()

    link = threaded(items(), keep_latest=True, on_drop=dropped.append)
    first = next(link)
    assert produced.wait(ENDED_S)
    rest = list(link)
    assert rest[-1:] == [99] or first == 99
    assert sorted([first, *rest, *dropped]) == list(range(100))


def test_in_thread_returns_raises_and_can_be_stopped() -> None:
    assert in_thread(lambda: 5, stop=Stop(), name="opening") == 5

    def fail() -> int:
        raise OSError("no such camera")

    with pytest.raises(OSError, match="no such camera"):
        in_thread(fail, stop=Stop(), name="opening")

    release = threading.Event()
    stop = Stop(grace_s=0.1)
    with pytest.raises(Stopped, match="opening a camera"):
        in_thread(lambda: release.wait(60), stop=stop, name="opening a camera", idle=stop.set)
    release.set()


def test_in_thread_leaves_the_pipeline_running() -> None:
    stop = Stop()
    in_thread(lambda: 1, stop=stop, name="opening")
    assert not stop.is_set()
    assert list(threaded(range(3), stop=stop)) == [0, 1, 2]


@dataclass(frozen=True)
class Plan:
    """One random pipeline: what every stage does to which frames, and when the consumer leaves."""

    frames: int
    stages: tuple[tuple[frozenset[int], int | None, float], ...]  # frames dropped, frame that raises, seconds a frame
    live: bool
    source_fails: bool
    consumer_leaves_after: int | None
    consumer_s: float


PAUSES = st.sampled_from([0.0, 0.0, 0.0, 0.0005, 0.002])
PLANS = st.builds(
    Plan,
    frames=st.integers(0, 25),
    stages=st.lists(
        st.tuples(st.frozensets(st.integers(0, 24), max_size=5), st.none() | st.integers(0, 24), PAUSES),
        max_size=3,
    ).map(tuple),
    live=st.booleans(),
    source_fails=st.booleans(),
    consumer_leaves_after=st.none() | st.integers(0, 25),
    consumer_s=PAUSES,
)


class Broken(Exception):
    """A failure injected by the test."""


def lossy(ledger: Ledger, drops: frozenset[int], breaks: int | None, pause_s: float) -> Callable[..., Iterator[Scene]]:
    def stage(scenes: Iterable[Scene]) -> Iterator[Scene]:
        for item in scenes:
            time.sleep(pause_s)
            if item.frame.number == breaks:
                raise Broken
            if item.frame.number in drops:
                ledger.drop(item.frame.number, "engine_error")
                continue
            yield item.lap("stage")

    return stage


@settings(max_examples=80, deadline=None)
@given(PLANS)
def test_the_ledger_balances_and_order_holds_whatever_happens(plan: Plan) -> None:
    ledger = Ledger()
    stop = Stop()

    def source() -> Iterator[Scene]:
        for number in range(plan.frames):
            ledger.capture(number)
            yield scene(number)
        if plan.source_fails:
            raise Broken

    chain = threaded(
        source(),
        stop=stop,
        name="property-source",
        keep_latest=plan.live,
        on_drop=lambda s: ledger.drop(s.frame.number, "stale"),
    )
    for drops, breaks, pause_s in plan.stages:
        chain = threaded(lossy(ledger, drops, breaks, pause_s)(chain), stop=stop, name="property-stage")

    seen: list[int] = []
    failed = left = False
    try:
        for item in chain:
            if len(seen) == plan.consumer_leaves_after:
                left = True
                break
            time.sleep(plan.consumer_s)
            ledger.publish(item.frame.number)
            seen.append(item.frame.number)
            assert ledger.entry().balanced
    except Broken:
        failed = True
    finally:
        chain.close()

    assert alive("property-") == []
    lost = ledger.drop_in_flight("shutdown")
    entry = ledger.entry()
    assert entry.balanced
    assert entry.in_flight == 0
    assert entry.published == len(seen)
    assert seen == sorted(set(seen))
    if not (failed or left):
        assert lost == 0
        assert entry.captured == plan.frames
        if not plan.live:
            dropped = frozenset().union(*(drops for drops, _, _ in plan.stages))
            assert seen == [n for n in range(plan.frames) if n not in dropped]
    if failed and not plan.live and not any(breaks is not None for _, breaks, _ in plan.stages):
        assert lost == 0  # a source that ends early: all that it gave was published first
