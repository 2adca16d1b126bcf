"""Lorries, buses and trams."""

from __future__ import annotations

from functools import lru_cache

from perception.synth.bodywork import (
    BOARD,
    BODY,
    GLASS,
    HEAD,
    INSIDE,
    SEAM,
    SECOND,
    SKIRT,
    TAIL,
    TRIM,
    add_wheels,
)
from perception.synth.chance import Dice
from perception.synth.shapes import Model, Sculptor


@lru_cache(maxsize=16)
def truck(style: int) -> Model:
    """A lorry: a cab, and a box, tarpaulin or flat bed behind it."""
    dice = Dice(style, 32)
    length, height = dice.between(6.5, 9.5), dice.between(2.9, 3.7)
    half, width, floor = length / 2, 1.22, 0.95
    cab = half - 1.9
    flat = style % 4 == 3
    levels = []
    for least, fine in ((30.0, 2), (12.0, 1), (0.0, 0)):
        s = Sculptor()
        s.part((0.0, 0.5, -0.2))
        s.box((-width * 0.8, 0.55, -half + 0.2), (width * 0.8, floor, half - 0.3), TRIM, skip="u")
        s.part((0.0, 1.5, (cab - half) / 2))
        top = floor + 0.7 if flat else height
        s.box((-width, floor, -half), (width, top, cab - 0.12), SECOND)
        if fine:
            _cargo_details(s, half, width, floor, top)
        s.part((0.0, 1.4, cab + 1.0))
        roof = min(2.9, height)
        profile = [(cab, 0.5, width), (cab, roof, width * 0.98), (half - 0.35, roof, width * 0.96),
                   (half - 0.02, 1.55, width), (half, 0.5, width)]  # fmt: skip
        s.extrude(profile, (BODY, BODY, BODY, BODY, -1), BODY)
        if fine:
            _cab_details(s, half, width, roof, cab, fine)
        s.part((0.0, 0.5, 0.0))
        add_wheels(s, width, half, 0.5, fine, (-half * 0.72, -half * 0.45, half - 1.05))
        levels.append((least, s.mesh()))
    return Model(tuple(levels), height, width, half)


def _cargo_details(s: Sculptor, half: float, width: float, floor: float, top: float) -> None:
    s.around((0.0, 1.5, 0.0))
    z = -half - 0.02
    s.face(((-0.02, floor, z), (0.02, floor, z), (0.02, top, z), (-0.02, top, z)), SEAM)
    s.face(((-width, floor - 0.25, z), (width, floor - 0.25, z), (width, floor, z), (-width, floor, z)), TRIM)
    for sign in (-1.0, 1.0):
        a, b = sorted((sign * 0.75, sign * 1.1))
        s.face(((a, 0.72, z - 0.01), (b, 0.72, z - 0.01), (b, 0.9, z - 0.01), (a, 0.9, z - 0.01)), TAIL)
        s.lamp((sign * 0.9, 0.8, z), TAIL, 0.25)
        x = sign * (width + 0.01)
        y = floor + (top - floor) * 0.55
        s.face(((x, y, -half * 0.8), (x, y, half * 0.3), (x, y + 0.5, half * 0.3), (x, y + 0.5, -half * 0.8)), BODY)


def _cab_details(s: Sculptor, half: float, width: float, roof: float, cab: float, fine: int) -> None:
    s.around((0.0, 1.2, cab))
    high, low = roof - 0.25, 1.65
    lean = 0.33 * (high - 1.55) / (roof - 1.55)
    s.face(((-1.08, low, half - 0.03), (1.08, low, half - 0.03), (1.04, high, half - lean), (-1.04, high, half - lean)),
           GLASS)  # fmt: skip
    for sign in (-1.0, 1.0):
        x = sign * (width + 0.012)
        s.face(((x, low, cab + 0.5), (x, low, half - 0.2), (x, high, half - 0.45), (x, high, cab + 0.5)), GLASS)
        a, b = sorted((sign * 0.72, sign * 1.12))
        s.face(((a, 0.72, half + 0.02), (b, 0.72, half + 0.02), (b, 0.92, half + 0.02), (a, 0.92, half + 0.02)), HEAD)
        s.lamp((sign * 0.92, 0.82, half + 0.02), HEAD, 0.36)
    if fine > 1:
        s.face(((-0.7, 0.95, half + 0.02), (0.7, 0.95, half + 0.02), (0.7, 1.4, half + 0.02), (-0.7, 1.4, half + 0.02)),
               TRIM)  # fmt: skip


@lru_cache(maxsize=16)
def bus(style: int) -> Model:
    """A city bus; every third one has two decks."""
    double = style % 3 == 2
    half, width, height = (5.3, 1.27, 4.2) if double else (5.9 - 0.4 * (style % 2), 1.27, 3.05)
    decks = ((1.25, 2.25), (2.9, 3.8)) if double else ((1.25, 2.55),)
    return _coach(half, width, height, decks, wheels=(-half * 0.5, half * 0.52), slant=0.12)


@lru_cache(maxsize=8)
def tram(end: int) -> Model:
    """One section of a tram: end -1 the tail, 0 the middle, +1 the head."""
    return _coach(4.6, 1.2, 3.35, ((1.3, 2.6),), wheels=(), slant=0.75, end=end, clear=0.22)


def _coach(
    half: float,
    width: float,
    height: float,
    decks: tuple[tuple[float, float], ...],
    *,
    wheels: tuple[float, ...],
    slant: float,
    end: int | None = None,
    clear: float = 0.32,
) -> Model:
    levels = []
    head, tail = end in (None, 1), end in (None, -1)
    for least, fine in ((34.0, 2), (12.0, 1), (0.0, 0)):
        s = Sculptor()
        front, back = (slant if head else 0.0), (slant if tail and end is not None else 0.03)
        profile = [
            (-half, clear, width),
            (-half + back * 0.2, 1.2, width),
            (-half + back, height - 0.1, width * 0.96),
            (-half + back + 0.2, height, width * 0.85),
            (half - front - 0.2, height, width * 0.85),
            (half - front, height - 0.1, width * 0.96),
            (half - front * 0.2, 1.2, width),
            (half, clear, width),
        ]
        s.extrude(profile, (BODY, BODY, SECOND, SECOND, SECOND, BODY, BODY, -1), BODY)
        if fine:
            s.around((0.0, 1.5, 0.0))
            for sign in (-1.0, 1.0):
                x = sign * (width + 0.005)
                z0, z1 = -half + back * 0.3, half - front * 0.3
                s.face(((x, clear, z0), (x, clear, z1), (x, clear + 0.45, z1), (x, clear + 0.45, z0)), SKIRT)
                _side_windows(s, sign, (half, width, height), decks, (front, back), fine)
            if head:
                _coach_end(s, half, width, height, front, decks, 1.0, fine)
            if tail:
                _coach_end(s, half, width, height, back, decks, -1.0, fine)
            if wheels:
                add_wheels(s, width, half, 0.46, fine, wheels)
        levels.append((least, s.mesh()))
    return Model(tuple(levels), height, width, half)


def _side_windows(
    s: Sculptor,
    sign: float,
    size: tuple[float, float, float],
    decks: tuple[tuple[float, float], ...],
    ends: tuple[float, float],
    fine: int,
) -> None:
    half, width, height = size
    for low, high in decks:
        count = 6 if fine > 1 else 1
        z0, z1 = -half + ends[1] + 0.25, half - ends[0] - 0.25
        step = (z1 - z0) / count
        for k in range(count):
            a, b = z0 + k * step + 0.06, z0 + (k + 1) * step - 0.06
            x0 = sign * (width + 0.012)
            x1 = sign * (width * (1 - 0.04 * max(0.0, high - 1.2) / (height - 1.3)) + 0.012)
            door = fine > 1 and low == decks[0][0] and k in (1, 4) and sign > 0
            bottom = 0.45 if door else low
            s.face(((x0, bottom, a), (x0, bottom, b), (x1, high, b), (x1, high, a)), GLASS)
            s.face(((x0, low + 0.1, a), (x0, low + 0.1, b), (x1, high - 0.2, b), (x1, high - 0.2, a)), INSIDE)
            if door:
                m = (a + b) / 2
                x0 += sign * 0.004
                s.face(((x0, bottom, m - 0.03), (x0, bottom, m + 0.03), (x0, high, m + 0.03), (x0, high, m - 0.03)),
                       TRIM)  # fmt: skip


def _coach_end(
    s: Sculptor,
    half: float,
    width: float,
    height: float,
    slant: float,
    decks: tuple[tuple[float, float], ...],
    way: float,
    fine: int,
) -> None:
    def z(y: float) -> float:
        lean = slant * 0.2 * y / 1.2 if y < 1.2 else slant * (0.2 + 0.8 * (y - 1.2) / (height - 1.3))
        return way * (half - lean + 0.02)

    s.around((0.0, 1.5, 0.0))
    glazed = decks if way > 0 else decks[-1:]
    for low, high in glazed:
        w0, w1 = width * (0.92 if way > 0 else 0.75), width * (0.88 if way > 0 else 0.7)
        s.face(((-w0, low, z(low)), (w0, low, z(low)), (w1, high, z(high)), (-w1, high, z(high))), GLASS)
    if fine > 1 or way < 0:
        low, high = height - 0.42, height - 0.16
        s.face(((-0.8, low, z(low)), (0.8, low, z(low)), (0.8, high, z(high)), (-0.8, high, z(high))), BOARD)
    row = HEAD if way > 0 else TAIL
    for sign in (-1.0, 1.0):
        a, b = sorted((sign * 0.72, sign * 1.12))
        s.face(((a, 0.66, z(0.66)), (b, 0.66, z(0.66)), (b, 0.92, z(0.92)), (a, 0.92, z(0.92))), row)
        s.lamp((sign * 0.92, 0.8, z(0.8)), row, 0.34 if way > 0 else 0.25)
