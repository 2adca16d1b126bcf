"""How far apart two sets of rounds are, and how sure that is.

Why not the bootstrap: a benchmark has three to ten rounds, and for so few the percentile bootstrap is too narrow twice
over: it takes the variance with n instead of n - 1, and normal quantiles where Student's belong (T. Hesterberg,
"What Teachers Should Know About the Bootstrap", The American Statistician 69, 2015). Of five
rounds against five its "95 %" intervals miss one time in eight, of three against three one in five (simulated), and
each miss would be a false alarm. What is taken instead is Student's t for
two sets of unequal variance (B. Welch, Biometrika 34, 1947), as A. Georges, D. Buytaert and L. Eeckhout,
"Statistically Rigorous Java Performance Evaluation", OOPSLA 2007, section 3.3, do for fewer than 30 measurements. It
works on logarithms, because noise multiplies durations and rates, and a change is told as a ratio.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

MIN_ROUNDS = 3  # two tell next to nothing of noise: Student's t then has one degree of freedom
_GRID = 10_001


@dataclass(frozen=True, slots=True)
class Interval:
    """A difference and the bounds between which it lies with the confidence that was asked for."""

    estimate: float
    low: float
    high: float

    @property
    def beyond_noise(self) -> bool:
        """Whether no difference at all lies outside the bounds."""
        return self.low > 0 or self.high < 0


def relative_change(before: Sequence[float], after: Sequence[float], confidence: float) -> Interval:
    """The ratio of the geometric means, minus 1: 0.05 is 5 % more. Every value must be above 0."""
    logs = difference([math.log(value) for value in before], [math.log(value) for value in after], confidence)
    return Interval(math.expm1(logs.estimate), math.expm1(logs.low), math.expm1(logs.high))


def difference(before: Sequence[float], after: Sequence[float], confidence: float) -> Interval:
    """The difference of the means, after - before, with its two-sided interval (Welch).

    Where neither set varies at all there is no noise to reckon with, and the interval is the difference itself.

    Raises:
        ValueError: a set holds fewer than two values.
    """
    if min(len(before), len(after)) < 2:
        raise ValueError("noise cannot be told from fewer than two rounds")
    estimate = statistics.fmean(after) - statistics.fmean(before)
    parts = [statistics.variance(values) / len(values) for values in (before, after)]
    spread = sum(parts)
    if spread == 0:
        return Interval(estimate, estimate, estimate)
    freedom = spread**2 / sum(part**2 / (len(values) - 1) for part, values in zip(parts, (before, after)))
    half = student(confidence, freedom) * math.sqrt(spread)
    return Interval(estimate, estimate - half, estimate + half)


def student(confidence: float, freedom: float) -> float:
    """The t between whose negative and itself a share ``confidence`` of Student's distribution lies.

    With t = sqrt(freedom) tan(angle) the density becomes cos(angle)^(freedom - 1) on a finite range, which a
    plain sum integrates; right to three digits and more for 1 to 10,000 degrees of freedom.
    """
    angle = np.linspace(0.0, math.pi / 2, _GRID)
    density = np.cos(angle) ** (freedom - 1.0)
    area = np.concatenate([[0.0], np.cumsum(density[1:] + density[:-1])])
    return math.sqrt(freedom) * math.tan(float(np.interp(confidence, area / area[-1], angle)))
