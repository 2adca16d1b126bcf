"""Cars, vans, trucks, buses and trams."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np

from perception.synth.chance import Dice, Floats
from perception.synth.shapes import ROWS, Model, Sculptor

BODY, SKIRT, GLASS, TYRE, RIM, TRIM, PLATE, SECOND, BRIGHT, SEAM = range(10)
HEAD, TAIL, INSIDE, BOARD = range(12, 16)

# Paint, BGR, roughly as often as it is seen.
PAINTS = (
    (205, 203, 200), (232, 232, 230), (150, 150, 150), (96, 98, 100), (44, 42, 40), (30, 28, 28), (92, 50, 28),
    (140, 84, 40), (36, 32, 140), (28, 24, 92), (62, 84, 50), (120, 150, 170), (190, 170, 120), (40, 140, 200),
)  # fmt: skip


@lru_cache(maxsize=64)
def car(style: int) -> Model:
    """A passenger car; the style runs over hatchbacks, saloons, estates, off-roaders and vans."""
    dice = Dice(style, 31)
    shape = style % 5
    length = (3.8, 4.5, 4.6, 4.5, 5.0)[shape] + dice.between(-0.15, 0.15)
    width = (0.84, 0.88, 0.88, 0.92, 0.98)[shape]
    height = (1.46, 1.44, 1.47, 1.74, 2.25)[shape] + dice.between(-0.04, 0.04)
    waist = height * (0.62 if shape != 4 else 0.55)
    clear = 0.26 if shape != 3 else 0.34
    half = length / 2
    # Where windscreen and rear window meet waist and roof, as shares of the half length.
    boot, back, front, hood = ((-0.97, -0.82, 0.16, 0.52), (-0.70, -0.38, 0.10, 0.46), (-0.97, -0.84, 0.12, 0.48),
                               (-0.97, -0.88, 0.20, 0.50), (-0.98, -0.95, 0.48, 0.80))[shape]  # fmt: skip
    levels = []
    for least, fine in ((30.0, 2), (11.0, 1), (0.0, 0)):
        s = Sculptor()
        nose = waist * (0.80 if shape != 3 else 0.92)
        lower = [(-half, clear, width * 0.97), (-half - 0.02, waist * 0.75, width), (-half + 0.10, waist, width * 0.96),
                 (half * hood, waist, width * 0.96), (half - 0.16, nose, width * 0.93),
                 (half, nose * 0.72, width * 0.93), (half - 0.03, clear, width * 0.9)]  # fmt: skip
        if fine:
            s.around((0.0, 0.5, 0.0))
            for z, look in ((-half * 0.62, -1.0), (half * 0.64, 1.0)):
                for x in (-width * 0.86, width * 0.86 - 0.2):
                    s.box((x, 0.0, z - 0.1 * look - 0.2), (x + 0.2, clear + 0.1, z - 0.1 * look + 0.2), TYRE, skip="ud")
            s.box((-width * 0.9, 0.16, -half + 0.25), (width * 0.9, clear + 0.02, half - 0.3), TYRE, skip="u")
        s.extrude(lower, (BODY, BODY, BODY, BODY, BODY, TRIM if fine else BODY, TRIM), BODY)
        top = width * 0.74 if shape != 4 else width * 0.9
        cabin = [(half * boot, waist - 0.01, width * 0.94), (half * back, height, top), (half * front, height, top),
                 (half * hood, waist - 0.01, width * 0.94)]  # fmt: skip
        s.extrude(cabin, (BODY, BODY, BODY, -1), BODY)
        if fine:
            _glazing(s, cabin, fine, panel_van=shape == 4)
            _lights(s, half, width, waist, nose, fine)
            _wheels(s, width, half, 0.31 if shape < 3 else 0.36, fine)
        if fine > 1:
            for sign in (-1.0, 1.0):  # mirrors: parts of their own, so that the cabin hides the far one
                a, b = sorted((sign * width, sign * (width + 0.16)))
                s.part((sign * width, waist, half * 0.43))
                s.box((a, waist - 0.02, half * 0.40), (b, waist + 0.12, half * 0.46), BODY)
        levels.append((least, s.mesh()))
    return Model(tuple(levels), height, width, half)


def _glazing(s: Sculptor, cabin: list[tuple[float, float, float]], fine: int, *, panel_van: bool) -> None:
    (z0, y0, w0), (z1, y1, w1), (z2, _, w2), (z3, _, w3) = cabin
    rise = y1 - y0
    low, high, edge = y0 + 0.06 * rise, y1 - 0.12 * rise, 0.012

    def at(z_low: float, w_low: float, z_high: float, w_high: float, y: float) -> tuple[float, float]:
        t = (y - y0) / rise
        return z_low + (z_high - z_low) * t, w_low + (w_high - w_low) * t

    for (za, wa, zb, wb), out in (((z0, w0, z1, w1), -edge), ((z3, w3, z2, w2), edge)):
        (zl, wl), (zh, wh) = at(za, wa, zb, wb, low), at(za, wa, zb, wb, high)
        s.around((0.0, y0, (z0 + z3) / 2))
        s.face(((-wl * 0.9, low, zl + out), (wl * 0.9, low, zl + out), (wh * 0.9, high, zh + out),
                (-wh * 0.9, high, zh + out)), GLASS)  # fmt: skip
    (bl, wl), (bh, wh) = at(z0, w0, z1, w1, low), at(z0, w0, z1, w1, high)
    (fl, _), (fh, _) = at(z3, w3, z2, w2, low), at(z3, w3, z2, w2, high)
    if panel_van:
        bl = bh = fl - 1.0
    pillars = (0.03, 0.49, 0.53, 0.95) if fine > 1 else (0.03, 0.95)
    for sign in (-1.0, 1.0):
        for a, b in zip(pillars[::2], pillars[1::2]):
            points = [(sign * (w + edge), y, zb + (zf - zb) * t) for w, y, zb, zf, t in (
                (wl, low, bl, fl, a), (wl, low, bl, fl, b), (wh, high, bh, fh, b), (wh, high, bh, fh, a))]  # fmt: skip
            s.face(points, GLASS)


def _lights(s: Sculptor, half: float, width: float, waist: float, nose: float, fine: int) -> None:
    s.around((0.0, 0.6, 0.0))
    for sign in (-1.0, 1.0):
        a, b = sorted((sign * width * 0.58, sign * width * 0.92))
        z, y = half + 0.015, nose * 0.72
        s.face(((a, y, z), (b, y, z - 0.05), (b, y + 0.17, z - 0.12), (a, y + 0.15, z - 0.09)), HEAD)
        s.lamp((sign * width * 0.75, y + 0.07, z), HEAD, 0.34)
        z, y = -half - 0.03, waist * 0.72
        a, b = sorted((sign * width * 0.70, sign * width * 0.97))
        s.face(((a, y, z), (b, y, z), (b, y + 0.24, z), (a, y + 0.24, z)), TAIL)
        s.lamp((sign * width * 0.84, y + 0.1, z), TAIL, 0.22)
    if fine > 1:
        for z, y, w in ((-half - 0.035, waist * 0.5, 0.26), (half + 0.01, nose * 0.42, 0.26)):
            s.face(((-w, y, z), (w, y, z), (w, y + 0.11, z), (-w, y + 0.11, z)), PLATE)
        s.face(((-width * 0.5, nose * 0.6, half + 0.012), (width * 0.5, nose * 0.6, half + 0.012),
                (width * 0.5, nose * 0.74, half + 0.012), (-width * 0.5, nose * 0.74, half + 0.012)), TRIM)  # fmt: skip
        s.face(((-width * 0.9, 0.3, -half - 0.03), (width * 0.9, 0.3, -half - 0.03),
                (width * 0.9, 0.44, -half - 0.03), (-width * 0.9, 0.44, -half - 0.03)), TRIM)  # fmt: skip
        for sign in (-1.0, 1.0):
            x = sign * (width + 0.006)
            s.face(((x, 0.3, -0.02), (x, 0.3, 0.0), (x, waist, 0.0), (x, waist, -0.02)), SEAM)


def _wheels(s: Sculptor, width: float, half: float, radius: float, fine: int, at: tuple[float, ...] = ()) -> None:
    s.around((0.0, 0.5, 0.0))
    for z in at or (-half * 0.62, half * 0.64):
        for sign in (-1.0, 1.0):
            s.disc((sign * (width + 0.01), radius, z), radius, TYRE)
            if fine > 1:
                s.disc((sign * (width + 0.02), radius, z), radius * 0.62, RIM)


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
        _wheels(s, width, half, 0.5, fine, (-half * 0.72, -half * 0.45, half - 1.05))
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
                _wheels(s, width, half, 0.46, fine, wheels)
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
