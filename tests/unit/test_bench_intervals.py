"""Intervals of changes: Student's quantiles, coverage, and what few rounds can tell."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perception.bench.intervals import difference, relative_change, student

VALUES = st.lists(st.floats(0.001, 1e6), min_size=2, max_size=12)


@pytest.mark.parametrize(
    ("confidence", "freedom", "tabulated"),  # two-sided, from printed tables of Student's distribution
    [
        (0.95, 1, 12.7062),
        (0.95, 2, 4.3027),
        (0.99, 2, 9.9248),
        (0.95, 4, 2.7764),
        (0.99, 4, 4.6041),
        (0.999, 3, 12.924),
        (0.95, 10, 2.2281),
        (0.95, 120, 1.9799),
        (0.95, 1e4, 1.9602),
    ],
)
def test_quantiles_are_those_of_the_tables(confidence: float, freedom: float, tabulated: float) -> None:
    assert student(confidence, freedom) == pytest.approx(tabulated, abs=6e-4 * tabulated)


def test_an_interval_by_hand() -> None:
    """Means 10 and 12, variances 1 each over three: half width t(0.95, 4) sqrt(2 / 3)."""
    found = difference([9, 10, 11], [11, 12, 13], 0.95)
    assert found.estimate == pytest.approx(2)
    assert found.high - found.estimate == pytest.approx(2.7764 * math.sqrt(2 / 3), rel=1e-3)
    assert found.low + found.high == pytest.approx(4)
    assert not found.beyond_noise
    assert difference([9, 10, 11], [13, 14, 15], 0.95).beyond_noise


def test_without_any_noise_the_difference_is_what_it_is() -> None:
    assert difference([0.0, 0.0, 0.0], [0.25, 0.25, 0.25], 0.95).beyond_noise
    assert not difference([3.0] * 3, [3.0] * 5, 0.999).beyond_noise


def test_one_round_tells_nothing() -> None:
    with pytest.raises(ValueError, match="fewer than two rounds"):
        difference([1.0], [1.0, 2.0], 0.95)


@settings(deadline=None)
@given(VALUES, VALUES)
def test_a_ratio_turned_round_is_its_inverse(before: list[float], after: list[float]) -> None:
    there, back = relative_change(before, after, 0.95), relative_change(after, before, 0.95)
    assert 1 + there.estimate == pytest.approx(1 / (1 + back.estimate), rel=1e-6)
    if there.high < 1e6:  # beyond, 1 / (1 + x) of the other side has no digits left
        assert 1 + back.low == pytest.approx(1 / (1 + there.high), rel=1e-6)
    assert there.low <= there.estimate <= there.high


@settings(deadline=None)
@given(VALUES, st.floats(1e-3, 1e3))
def test_units_do_not_matter_to_a_ratio(values: list[float], unit: float) -> None:
    found = relative_change(values, [value * unit for value in values], 0.95)
    assert 1 + found.estimate == pytest.approx(unit, rel=1e-6)


@settings(deadline=None)
@given(VALUES)
def test_equal_values_are_never_beyond_noise(values: list[float]) -> None:
    assert not relative_change(values, list(values), 0.95).beyond_noise
    assert not relative_change(values, list(values), 0.5).beyond_noise


@pytest.mark.parametrize("rounds", [3, 5])
@pytest.mark.parametrize("noise", ["normal", "heavy tails"])
def test_the_interval_covers_as_often_as_it_says(rounds: int, noise: str) -> None:
    """A true change of 10 % lies within 19 of 20 intervals: of 1,000, at least 93 %, whatever the noise."""
    random = np.random.default_rng(7)
    covered = 0
    for _ in range(1000):
        draws = random.normal(size=2 * rounds) if noise == "normal" else random.standard_t(3, 2 * rounds)
        values = np.exp(0.02 * draws)
        found = relative_change(list(values[:rounds]), list(1.1 * values[rounds:]), 0.95)
        covered += found.low <= 0.1 <= found.high
    assert covered >= 930
