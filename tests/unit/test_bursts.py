"""Bursts of drops: told once, when they begin."""

from __future__ import annotations

from perception.bursts import BurstWatch
from perception.ledger import Ledger


class Second:
    """A ledger and a watch over it, second by second."""

    def __init__(self) -> None:
        self.ledger = Ledger()
        self.watch = BurstWatch()
        self.now_s = 50.0
        self.watch.look(self.now_s, self.ledger)

    def passes(self, published: int, dropped: int) -> dict[str, object] | None:
        start = self.ledger.entry().captured
        for number in range(start, start + published + dropped):
            self.ledger.capture(number)
            if number < start + dropped:
                self.ledger.drop(number, "stale")
            else:
                self.ledger.publish(number)
        self.now_s += 1.0
        return self.watch.look(self.now_s, self.ledger)


def test_a_burst_is_told_once_until_a_second_passes_without_one() -> None:
    second = Second()
    assert second.passes(30, 0) is None
    assert second.passes(20, 10) == {"seconds": 1.0, "captured": 30, "dropped": {"stale": 10}}
    assert second.passes(20, 10) is None
    assert second.passes(30, 0) is None
    assert second.passes(0, 30) == {"seconds": 1.0, "captured": 30, "dropped": {"stale": 30}}


def test_a_few_drops_are_no_burst() -> None:
    second = Second()
    assert second.passes(0, 4) is None, "less than five"
    assert second.passes(26, 5) is None, "less than a quarter"


def test_what_happens_within_a_second_is_one_look() -> None:
    second = Second()
    second.now_s -= 0.5
    assert second.passes(0, 20) is None, "half a second"
    second.now_s -= 0.5
    found = second.passes(0, 0)
    assert found is not None
    assert found["captured"] == 20
