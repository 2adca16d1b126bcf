"""What all vehicles share: the rows of their palettes, their paint, their wheels."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from perception.synth.chance import Dice, Floats
from perception.synth.shapes import ROWS, Sculptor

BODY, SKIRT, GLASS, TYRE, RIM, TRIM, PLATE, SECOND, BRIGHT, SEAM = range(10)
HEAD, TAIL, INSIDE, BOARD = range(12, 16)

# Paint, BGR, roughly as often as it is seen.
PAINTS = (
    (205, 203, 200), (232, 232, 230), (150, 150, 150), (96, 98, 100), (44, 42, 40), (30, 28, 28), (92, 50, 28),
    (140, 84, 40), (36, 32, 140), (28, 24, 92), (62, 84, 50), (120, 150, 170), (190, 170, 120), (40, 140, 200),
)  # fmt: skip


def add_wheels(s: Sculptor, width: float, half: float, radius: float, fine: int, at: tuple[float, ...] = ()) -> None:
    """Put a wheel on both sides at each place along z, by default those of a car."""
    s.around((0.0, 0.5, 0.0))
    for z in at or (-half * 0.62, half * 0.64):
        for sign in (-1.0, 1.0):
            s.disc((sign * (width + 0.01), radius, z), radius, TYRE)
            if fine > 1:
                s.disc((sign * (width + 0.02), radius, z), radius * 0.62, RIM)


def paint(dice: Dice, kind: str, *, dark: bool) -> Floats:
    """(ROWS, 3) colours of one vehicle; ``dark`` switches its lamps on."""
    palette = np.zeros((ROWS, 3))
    finish: dict[str, Callable[[], tuple[float, float, float]]] = {
        "car": lambda: dice.around(dice.choice(PAINTS), 14),
        "truck": lambda: dice.around(dice.choice(((225, 225, 222), (60, 60, 170), (150, 90, 40), (60, 150, 190))), 16),
        "bus": lambda: dice.around(
            dice.choice(((40, 40, 190), (200, 190, 180), (170, 110, 40), (60, 170, 220), (90, 140, 60))), 16
        ),
        "tram": lambda: dice.around(dice.choice(((50, 190, 235), (215, 212, 210), (50, 50, 185), (150, 170, 60))), 12),
    }
    body = finish[kind]()
    palette[BODY] = body
    palette[SKIRT] = [c * 0.6 for c in body] if kind != "tram" else (70, 66, 64)
    palette[GLASS] = dice.around((58, 50, 44), 12)
    palette[TYRE] = (26, 25, 25)
    palette[RIM] = dice.around((150, 150, 150), 30)
    palette[TRIM] = (38, 36, 35)
    palette[PLATE] = dice.choice(((235, 238, 238), (70, 200, 235), (235, 238, 238)))
    second = dice.choice(((228, 228, 226), (180, 176, 172), (90, 120, 70), (150, 90, 50), (60, 70, 160)))
    palette[SECOND] = dice.around(second, 12) if kind in ("truck", "tram") else [min(255.0, c * 1.15) for c in body]
    palette[BRIGHT] = (210, 210, 210)
    palette[SEAM] = [c * 0.45 for c in body]
    palette[HEAD] = (232, 246, 255) if dark else (196, 200, 200)
    palette[TAIL] = (30, 24, 235) if dark else (34, 26, 140)
    palette[INSIDE] = dice.around((120, 190, 225), 10) if dark else dice.around((74, 64, 56), 8)
    palette[BOARD] = (40, 170, 255) if dark else (30, 120, 190)
    return palette
