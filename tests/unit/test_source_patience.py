"""The rhythm in which a camera is tried again, on a clock of the test."""

from __future__ import annotations

import pytest

from perception.errors import SourceError
from perception.sources.patience import FIRST_PAUSE_S, STEADY_S, Absence, Patience

GONE = SourceError("'rtsp://x' is gone: it left.")


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def absence(clock: Clock, *, chance: float = 0.0, **limits: float | bool | None) -> Absence:
    patience = Patience(**{"give_up_s": None, **limits})  # type: ignore[arg-type]
    return Absence(patience, clock=clock, chance=lambda: chance)


def test_pauses_double_up_to_the_longest() -> None:
    away = absence(Clock(), longest_pause_s=3)
    assert [away.goes_on(GONE) for _ in range(7)] == [0.25, 0.5, 1, 2, 3, 3, 3]
    assert away.attempts == 7


def test_a_thousand_failures_do_not_overflow() -> None:
    away = absence(Clock(), longest_pause_s=3)
    assert {away.goes_on(GONE) for _ in range(1000)} == {0.25, 0.5, 1, 2, 3}


@pytest.mark.parametrize(("chance", "pause_s"), [(0.0, 0.25), (0.5, 0.1875), (0.999, 0.125125)])
def test_chance_cuts_a_pause_by_up_to_a_half(chance: float, pause_s: float) -> None:
    assert absence(Clock(), chance=chance).goes_on(GONE) == pytest.approx(pause_s)


def test_a_camera_that_was_here_for_long_is_tried_soon_again_and_one_that_flaps_is_not() -> None:
    clock = Clock()
    away = absence(clock)
    for _ in range(3):
        away.goes_on(GONE)
    assert away.ends()
    clock.now += STEADY_S / 2
    assert away.goes_on(GONE) == 8 * FIRST_PAUSE_S
    away.ends()
    clock.now += STEADY_S
    assert away.goes_on(GONE) == FIRST_PAUSE_S


def test_only_the_first_frame_after_a_failure_ends_an_absence() -> None:
    clock = Clock()
    away = absence(clock)
    assert not away.ends(), "the first connect went well: nobody was told of an absence"
    assert not away.ends()
    away.goes_on(GONE)
    clock.now += 7
    assert away.ends()
    assert (away.away_s, away.attempts) == (7, 1)
    assert not away.ends()


def test_the_first_connect_is_tried_again_unless_that_is_not_wanted() -> None:
    assert absence(Clock()).goes_on(GONE) == FIRST_PAUSE_S
    impatient = absence(Clock(), wait_for_first=False)
    with pytest.raises(SourceError) as caught:
        impatient.goes_on(GONE)
    assert caught.value is GONE
    was_here = absence(Clock(), wait_for_first=False)
    was_here.ends()
    assert was_here.goes_on(GONE) == FIRST_PAUSE_S


def test_it_is_given_up_at_once_or_after_a_while_without_it() -> None:
    with pytest.raises(SourceError) as caught:
        absence(Clock(), give_up_s=0.0).goes_on(GONE)
    assert caught.value is GONE
    clock = Clock()
    away = absence(clock, give_up_s=60.0)
    away.ends()
    clock.now += 1000
    away.goes_on(GONE)  # away for no time so far
    clock.now += 59
    away.goes_on(GONE)
    clock.now += 1
    with pytest.raises(SourceError, match=r"it left. Gave up after 60 s and 3 attempts."):
        away.goes_on(GONE)
