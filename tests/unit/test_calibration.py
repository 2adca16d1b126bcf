"""Scores of objects as probabilities."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perception.stages.calibration import CONSTANT, OF_AREA, OF_SCORE, WHOLE_AREA, calibrated


def one(raw: float, area: int) -> float:
    return float(calibrated(np.array([raw]), np.array([area]))[0])


def test_a_large_and_sure_object_is_as_right_as_the_constant_says() -> None:
    assert one(1.0, 2000) == one(1.0, 100_000) == pytest.approx(1 / (1 + np.exp(-CONSTANT)))


def test_score_and_area_count_by_their_logarithms() -> None:
    odds = np.log(1 / one(0.5, 200) - 1)
    assert odds == pytest.approx(-(CONSTANT + OF_SCORE * np.log(0.5) + OF_AREA * np.log(200 / WHOLE_AREA)), rel=1e-4)


@given(low=st.floats(0, 1), high=st.floats(0, 1), area=st.integers(0, 10**6), more=st.integers(0, 10**6))
def test_better_and_larger_is_never_worse_and_all_are_probabilities(
    low: float, high: float, area: int, more: int
) -> None:
    low, high = min(low, high), max(low, high)
    assert 0 <= one(low, area) <= one(high, area) <= 1
    assert one(low, area) <= one(low, area + more)


def test_none_are_none() -> None:
    assert calibrated(np.zeros(0), np.zeros(0, np.int32)).shape == (0,)
