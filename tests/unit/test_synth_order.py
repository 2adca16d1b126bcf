"""Painter's order against ray casting: along every line of sight, the nearest box is painted last."""

from __future__ import annotations

import math

from hypothesis import given, settings
from hypothesis import strategies as st

from perception.synth.order import painters_order
from perception.synth.solids import Box

EYE = (0.3, -2.0)


@st.composite
def layouts(draw: st.DrawFn) -> list[Box]:
    """Boxes that do not touch: each fills a run of cells of a grid, with a margin."""
    free = {(i, j) for i in range(-4, 5) for j in range(8)}
    boxes: list[Box] = []
    for _ in range(draw(st.integers(1, 14))):
        i, j = draw(st.sampled_from(sorted(free))) if free else (0, 0)
        wide, deep = draw(st.integers(1, 3)), draw(st.integers(1, 6))
        cells = {(i + a, j + b) for a in range(wide) for b in range(deep)}
        if cells <= free:
            free -= cells
            boxes.append((i + 0.1, i + wide - 0.1, j + 0.1, j + deep - 0.1))
    return boxes


def spans_of(boxes: list[Box]) -> list[tuple[float, float]]:
    slopes = [[(d - EYE[0]) / (z - EYE[1]) for d in box[:2] for z in box[2:]] for box in boxes]
    return [(min(s), max(s)) for s in slopes]


def entry(box: Box, slope: float) -> float | None:
    """Distance along z at which the ray from the eye with this slope enters the box."""
    d0, d1, z0, z1 = (v - e for v, e in zip(box, (EYE[0], EYE[0], EYE[1], EYE[1])))
    low, high = z0, z1
    if slope == 0:
        return low if d0 < 0 < d1 else None
    a, b = sorted((d0 / slope, d1 / slope))
    low, high = max(low, a), min(high, b)
    return low if low < high else None


@settings(max_examples=150, deadline=None)
@given(layouts())
def test_the_nearest_box_is_painted_last(boxes: list[Box]) -> None:
    order = painters_order(boxes, spans_of(boxes), EYE)
    assert sorted(order) == list(range(len(boxes)))
    place = {box: k for k, box in enumerate(order)}
    for step in range(-180, 181):
        slope = math.tan(step / 150)
        hits = {k: distance for k, box in enumerate(boxes) if (distance := entry(box, slope)) is not None}
        if hits:
            assert max(hits, key=lambda k: place[k]) == min(hits, key=lambda k: hits[k])


def test_nothing_to_paint() -> None:
    assert painters_order([], [], EYE) == []


def test_a_long_tram_hides_what_parks_beyond_it_and_is_hidden_by_what_is_before_it() -> None:
    tram, beyond, before = (2.0, 4.0, 5.0, 40.0), (6.0, 8.0, 8.0, 12.0), (0.9, 1.8, 6.0, 9.0)
    order = painters_order([tram, beyond, before], spans_of([tram, beyond, before]), EYE)
    assert order.index(1) < order.index(0) < order.index(2)


def test_what_stands_across_the_street_does_not_disturb_the_order() -> None:
    near, middle, house = (-2.0, -0.5, 4.0, 13.0), (-2.0, -0.5, 13.2, 22.0), (5.0, 6.0, 3.0, 30.0)
    order = painters_order([near, middle, house], [(-9.0, 9.0)] * 3, EYE)
    assert order.index(1) < order.index(0)
