"""What stands at the kerb: lamp posts, sign posts, traffic lights, and the trunks of trees."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from perception.synth.chance import Dice, Floats
from perception.synth.shapes import EMISSIVE, ROWS, Model, Point, Sculptor, circle

STEEL, DARK, PLATE, BORDER, MARK, BARK = range(6)
GLOW, RED, AMBER, GREEN = range(EMISSIVE, EMISSIVE + 4)


@lru_cache(maxsize=32)
def post(height: int, thick: int) -> Model:
    """A round upright post, height in decimetres, diameter in centimetres."""
    s = Sculptor()
    tall, r = height / 10, thick / 200
    s.face(((-r, 0.0, 0.0), (r, 0.0, 0.0), (r, tall, 0.0), (-r, tall, 0.0)), STEEL, True)
    coarse = s.mesh()
    s.face(((r * 0.2, 0.0, -0.001), (r, 0.0, -0.001), (r, tall, -0.001), (r * 0.2, tall, -0.001)), DARK, True)
    return Model(((60.0, s.mesh()), (0.0, coarse)), tall, r, r)


@lru_cache(maxsize=8)
def lamp_post(height: int, reach: int) -> Model:
    """A street lamp, height and arm in decimetres; the arm points along -x."""
    s = Sculptor()
    tall, arm = height / 10, reach / 10
    s.box((-0.09, 0.0, -0.09), (0.09, 1.0, 0.09), STEEL, skip="d")
    s.box((-0.06, 1.0, -0.06), (0.06, tall, 0.06), STEEL, skip="d")
    s.box((-arm, tall - 0.05, -0.04), (0.06, tall + 0.03, 0.04), STEEL)
    s.box((-arm - 0.6, tall - 0.08, -0.14), (-arm, tall + 0.08, 0.14), DARK)
    s.face(((-arm - 0.55, tall - 0.09, -0.1), (-arm - 0.05, tall - 0.09, -0.1), (-arm - 0.05, tall - 0.09, 0.1),
            (-arm - 0.55, tall - 0.09, 0.1)), GLOW, True)  # fmt: skip
    s.lamp((-arm - 0.3, tall - 0.12, 0.0), GLOW, 0.9)
    return Model(((0.0, s.mesh()),), tall, 0.1, 0.1)


@lru_cache(maxsize=8)
def signal_post(reach: int) -> Model:
    """The mast of a traffic light, with an arm of so many decimetres along -x."""
    s = Sculptor()
    tall = 3.4 if reach == 0 else 5.6
    s.box((-0.07, 0.0, -0.07), (0.07, tall, 0.07), STEEL, skip="d")
    if reach:
        s.box((-reach / 10, tall - 0.12, -0.05), (0.0, tall, 0.05), STEEL)
    return Model(((0.0, s.mesh()),), tall, 0.08, 0.08)


@lru_cache(maxsize=8)
def signal_head(state: int) -> Model:
    """Three lamps in a dark box, facing -z; state 0 red, 1 red and amber, 2 green, 3 amber."""
    s = Sculptor()
    s.box((-0.24, -0.08, -0.02), (0.24, 1.08, 0.02), BORDER)
    s.box((-0.17, 0.0, -0.22), (0.17, 1.0, 0.12), DARK)
    on = {0: (RED,), 1: (RED, AMBER), 2: (GREEN,), 3: (AMBER,)}[state]
    for row, y in ((RED, 0.82), (AMBER, 0.5), (GREEN, 0.18)):
        s.disc((0.0, y, -0.225), 0.125, row if row in on else MARK, axis="z")
        if row in on:
            s.lamp((0.0, y, -0.24), row, 0.22)
    return Model(((0.0, s.mesh()),), 1.1, 0.25, 0.2)


@lru_cache(maxsize=16)
def sign(shape: int) -> Model:
    """A sign plate facing -z, centred on its origin: 0 round, 1 triangle, 2 square, 3 octagon, 4 wide board."""
    s = Sculptor()
    edge: dict[int, list[Point]] = {
        0: [(0.33 * c, 0.33 * d, 0.0) for c, d in circle(12)],
        1: [(-0.42, -0.3, 0.0), (0.42, -0.3, 0.0), (0.0, 0.43, 0.0)],
        2: [(-0.32, -0.32, 0.0), (0.32, -0.32, 0.0), (0.32, 0.32, 0.0), (-0.32, 0.32, 0.0)],
        3: [(0.36 * c, 0.36 * d, 0.0) for c, d in circle(8)],
        4: [(-1.0, -0.35, 0.0), (1.0, -0.35, 0.0), (1.0, 0.35, 0.0), (-1.0, 0.35, 0.0)],
    }
    outline = edge[shape]
    s.around((0.0, 0.0, 1.0))
    s.face(outline, BORDER)
    s.around((0.0, 0.0, -1.0))
    s.face(outline, STEEL)
    s.around((0.0, 0.0, 1.0))
    inner = 0.74 if shape in (0, 1) else 0.9
    s.face([(x * inner, (y - (0.05 if shape == 1 else 0)) * inner, -0.005) for x, y, _ in outline], PLATE)
    marks = {0: ((-0.16, -0.05, 0.16, 0.05),), 1: ((-0.04, -0.1, 0.04, 0.16),), 2: ((-0.1, -0.2, 0.1, 0.2),),
             3: ((-0.24, -0.07, 0.24, 0.07),), 4: ((-0.8, 0.04, 0.5, 0.16), (-0.8, -0.2, 0.7, -0.08))}  # fmt: skip
    for x0, y0, x1, y1 in marks[shape]:
        s.face(((x0, y0, -0.01), (x1, y0, -0.01), (x1, y1, -0.01), (x0, y1, -0.01)), MARK)
    return Model(((0.0, s.mesh()),), 0.8, 0.4, 0.05)


@lru_cache(maxsize=32)
def trunk(height: int, thick: int) -> Model:
    """A tree trunk, height in decimetres, diameter at the foot in centimetres."""
    s = Sculptor()
    tall, r = height / 10, thick / 200
    s.face(((-r * 1.25, 0.0, 0.0), (r * 1.25, 0.0, 0.0), (r, 0.5, 0.0), (r * 0.75, tall, 0.0), (-r * 0.75, tall, 0.0),
            (-r, 0.5, 0.0)), BARK, True)  # fmt: skip
    s.face(((r * 0.3, 0.0, -0.001), (r * 1.25, 0.0, -0.001), (r * 0.8, tall, -0.001), (r * 0.2, tall, -0.001)), DARK,
           True)  # fmt: skip
    return Model(((0.0, s.mesh()),), tall, r, r)


def metal(dice: Dice, *, dark: bool) -> Floats:
    """(ROWS, 3) colours of posts and signals; ``dark`` switches street lamps on."""
    palette = np.zeros((ROWS, 3))
    steel = dice.around(dice.choice(((120, 122, 122), (80, 84, 82), (60, 66, 58), (150, 150, 148))), 12)
    palette[STEEL] = steel
    palette[DARK] = [c * 0.6 for c in steel]
    palette[PLATE] = palette[STEEL]
    palette[BORDER] = (30, 30, 30)
    palette[MARK] = (20, 20, 20)
    bark = dice.around((62, 76, 88), 16)
    palette[BARK] = bark
    palette[GLOW] = (170, 220, 255) if dark else (200, 205, 205)
    palette[RED], palette[AMBER], palette[GREEN] = (40, 40, 250), (30, 180, 255), (140, 235, 60)
    return palette


def bark(dice: Dice) -> Floats:
    """(ROWS, 3) colours of a trunk."""
    palette = metal(dice, dark=False)
    palette[DARK] = palette[BARK] * 0.68
    return palette


def housing(dice: Dice) -> Floats:
    """(ROWS, 3) colours of a traffic light's head."""
    palette = metal(dice, dark=True)
    palette[DARK] = (34, 36, 34)
    palette[BORDER] = dice.choice(((26, 26, 26), (26, 26, 26), (60, 190, 220)))
    palette[MARK] = (30, 34, 38)
    return palette


def signage(dice: Dice, shape: int) -> Floats:
    """(ROWS, 3) colours of a sign of this shape."""
    palette = metal(dice, dark=False)
    red, white, blue, black = (36, 30, 190), (238, 238, 238), (160, 84, 24), (28, 26, 26)
    green, yellow = (80, 120, 30), (40, 200, 245)
    border, plate, mark = dice.choice({
        0: ((red, white, black), (red, red, white), (blue, blue, white), (red, blue, red)),
        1: ((red, white, black), (red, yellow, black)),
        2: ((white, blue, white), (white, yellow, black), (blue, blue, white)),
        3: ((white, red, white), (white, red, white)),
        4: ((white, blue, white), (white, green, white), (black, yellow, black)),
    }[shape])  # fmt: skip
    palette[BORDER], palette[PLATE], palette[MARK] = border, plate, mark
    return palette
