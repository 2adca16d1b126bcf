"""Roofs, chimneys, and the distant shape of a house."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from perception.synth.chance import Dice, Floats
from perception.synth.shapes import ROWS, Model, Sculptor

TILES, GABLE, STACK, EDGE = range(4)


@lru_cache(maxsize=128)
def roof(width_dm: int, depth_dm: int, rise_dm: int, chimneys: int) -> Model:
    """A saddle roof whose ridge runs along z; the origin is the middle of the house at the height of its eaves.

    ``rise_dm`` 0 is a flat roof with a parapet.
    """
    s = Sculptor()
    half, deep, rise = width_dm / 20, depth_dm / 20, rise_dm / 10
    if rise_dm == 0:
        s.box((-deep, 0.0, -half), (deep, 0.45, half), GABLE, skip="d")
        s.box((-1.5, 0.4, -half * 0.3), (1.5, 2.2, half * 0.1), STACK)
    else:
        s.around((0.0, -1.0, 0.0))
        for sign in (-1.0, 1.0):
            x = sign * (deep + 0.3)
            s.face(((x, -0.15, -half), (x, -0.15, half), (0.0, rise, half), (0.0, rise, -half)), TILES)
            s.face(((-deep, 0.0, sign * half), (deep, 0.0, sign * half), (0.0, rise, sign * half)), GABLE)
        for k in range(chimneys):
            z = half * (-0.7 + 1.4 * k / max(1, chimneys - 1))
            s.box((-0.35, rise - 0.5, z - 0.4), (0.35, rise + 1.0, z + 0.4), STACK, skip="d")
        if width_dm > 70 and rise_dm > 25:
            for z in (-half * 0.4, half * 0.4):
                for sign in (-1.0, 1.0):
                    a, b = sorted((sign * deep * 0.75, sign * deep * 0.25))
                    s.box((a, rise * 0.25, z - 0.7), (b, rise * 0.62, z + 0.7), GABLE, skip="d")
                    x = (a if sign < 0 else b) + sign * 0.02
                    s.face(((x, rise * 0.3, z - 0.5), (x, rise * 0.3, z + 0.5), (x, rise * 0.58, z + 0.5),
                            (x, rise * 0.58, z - 0.5)), EDGE)  # fmt: skip
    return Model(((0.0, s.mesh()),), max(0.5, rise), deep, half)


def tiles(dice: Dice, front: Floats) -> Floats:
    """(ROWS, 3) colours of a roof over a front of this colour."""
    palette = np.zeros((ROWS, 3))
    palette[TILES] = dice.around(dice.choice(((60, 72, 120), (70, 64, 62), (52, 60, 92), (88, 84, 80))), 12)
    palette[GABLE] = front * 0.92
    palette[STACK] = dice.around((84, 100, 140), 16)
    palette[EDGE] = (70, 62, 56)
    return palette
