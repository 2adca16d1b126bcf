"""Passenger cars and vans."""

from __future__ import annotations

from functools import lru_cache

from perception.synth.bodywork import BODY, GLASS, HEAD, PLATE, SEAM, TAIL, TRIM, TYRE, add_wheels
from perception.synth.chance import Dice
from perception.synth.shapes import Model, Sculptor


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
            add_wheels(s, width, half, 0.31 if shape < 3 else 0.36, fine)
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
