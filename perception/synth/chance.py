"""Randomness that is a function of its keys alone: no state, no order, the same on every machine.

Everything in the street is drawn from integer hashes of (seed, what, where). Arrays use only integer
arithmetic and the exactly rounded operations + - * /, so the result depends neither on the number of
threads nor on the vector width of the processor.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import TypeVar

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
T = TypeVar("T")
Number = TypeVar("Number", float, Floats)

_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15


def mix(*keys: int) -> int:
    """A 64-bit hash of whole numbers (splitmix64 over the sequence); order matters."""
    state = 0
    for key in keys:
        state = (state ^ (key & _MASK)) + _GOLDEN & _MASK
        state = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9 & _MASK
        state = (state ^ (state >> 27)) * 0x94D049BB133111EB & _MASK
        state ^= state >> 31
    return state


def unit(*keys: int) -> float:
    """A number in [0, 1) from whole numbers."""
    return (mix(*keys) >> 11) * 2.0**-53


class Dice:
    """A row of draws that belongs to its keys: the same keys give the same row."""

    def __init__(self, *keys: int) -> None:
        self._key = mix(*keys)
        self._draws = 0

    def unit(self) -> float:
        """A number in [0, 1)."""
        self._draws += 1
        return unit(self._key, self._draws)

    def between(self, low: float, high: float) -> float:
        """A number in [low, high)."""
        return low + (high - low) * self.unit()

    def whole(self, low: int, high: int) -> int:
        """A whole number in low..high, both included."""
        return low + int(self.unit() * (high - low + 1))

    def chance(self, probability: float) -> bool:
        """True with this probability."""
        return self.unit() < probability

    def choice(self, items: Sequence[T]) -> T:
        """One of the items."""
        return items[int(self.unit() * len(items))]

    def shuffled(self, items: Sequence[T]) -> list[T]:
        """The items in a random order."""
        return [item for _, _, item in sorted((self.unit(), i, item) for i, item in enumerate(items))]

    def around(self, color: Sequence[float], spread: float) -> tuple[float, float, float]:
        """A colour near this one: common brightness and each channel vary by up to ``spread``."""
        shift = self.between(-spread, spread)
        b, g, r = (min(255.0, max(0.0, c + shift + self.between(-spread, spread) / 3)) for c in color)
        return b, g, r


def units(keys: npt.NDArray[np.integer], salt: int) -> Floats:
    """``unit`` for an array of whole numbers (any shape), float64 in [0, 1)."""
    with np.errstate(over="ignore"):
        state = (keys.astype(np.int64).view(np.uint64) + np.uint64(salt & _MASK)) * np.uint64(_GOLDEN)
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB), (31, _GOLDEN)):
            state = (state ^ (state >> np.uint64(shift))) * np.uint64(factor)
    return np.asarray((state >> np.uint64(11)).astype(np.float64) * 2.0**-53)


def grain(size: int, cell: int, salt: int) -> Floats:
    """Tileable value noise, (size, size) float64 in [0, 1): random heights every ``cell`` pixels, smoothly joined."""
    count = size // cell
    y, x = np.divmod(np.arange(count * count), count)
    heights = units(y * 4096 + x, salt).reshape(count, count)
    at = np.arange(count * cell)
    low, high = at // cell, (at // cell + 1) % count
    t = (at % cell) / cell
    t = t * t * (3.0 - 2.0 * t)
    rows = heights[low] * (1 - t)[:, None] + heights[high] * t[:, None]
    return np.asarray(rows[:, low] * (1 - t)[None] + rows[:, high] * t[None])


class Wander:
    """A smooth endless random line: a uniform cubic B-spline whose control points are hashes.

    ``step`` is the distance between control points, ``amplitude`` bounds the value.
    """

    def __init__(self, key: int, step: float, amplitude: float) -> None:
        self._key = mix(key, 77)
        self._step = step
        self._amplitude = amplitude
        # Bounded, for a street has no end.
        self._point = lru_cache(maxsize=4096)(self._draw)
        self._four = lru_cache(maxsize=1024)(self._around)

    def value(self, where: float) -> float:
        """Its value at one place."""
        cell, t = self._cell(where)
        p0, p1, p2, p3 = self._four(cell)
        return self._amplitude / 6.0 * _value(p0, p1, p2, p3, t)

    def slope(self, where: float) -> float:
        """Its derivative at one place."""
        cell, t = self._cell(where)
        p0, p1, p2, p3 = self._four(cell)
        u = 1.0 - t
        bend = (p1 - p0) * u * u + (p2 - p1) * (1.0 + 2.0 * t * u) + (p3 - p2) * t * t
        return bend * (self._amplitude / (2.0 * self._step))

    def values(self, where: Floats) -> Floats:
        """Its values at many places, of the same shape."""
        place = where / self._step
        cells = np.floor(place)
        t = place - cells
        index = cells.astype(np.int64)
        first = int(index.min()) - 1
        points = np.array([self._point(k) for k in range(first, int(index.max()) + 3)])
        p0, p1, p2, p3 = (points[index + (k - first)] for k in (-1, 0, 1, 2))
        return np.asarray(self._amplitude / 6.0 * _value(p0, p1, p2, p3, t))

    def _cell(self, where: float) -> tuple[int, float]:
        place = where / self._step
        cell = math.floor(place)
        return cell, place - cell

    def _around(self, cell: int) -> tuple[float, float, float, float]:
        """The control points that decide the values of one cell."""
        return self._point(cell - 1), self._point(cell), self._point(cell + 1), self._point(cell + 2)

    def _draw(self, cell: int) -> float:
        return unit(self._key, cell) * 2.0 - 1.0


def _value(p0: Number, p1: Number, p2: Number, p3: Number, t: Number) -> Number:
    u = 1.0 - t
    return (
        p0 * (u * u * u)
        + p1 * (4.0 - 6.0 * t * t + 3.0 * t * t * t)
        + p2 * (1.0 + 3.0 * t + 3.0 * t * t - 3.0 * t * t * t)
        + p3 * (t * t * t)
    )
