"""Pictures of house fronts."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt

from perception.synth.chance import Dice, grain
from perception.synth.surfaces import Texture
from perception.types import Image

DENSITY = 22.0  # pixels a metre
FLOOR = 3.1  # metres
GROUND_FLOOR = 3.7

Color = tuple[float, float, float]

PLASTER: tuple[Color, ...] = (
    (196, 216, 226), (178, 202, 222), (206, 206, 204), (150, 186, 214), (160, 176, 182), (188, 196, 176),
    (216, 222, 226), (140, 164, 196), (170, 150, 140), (132, 152, 170),
)  # fmt: skip
BRICK: tuple[Color, ...] = ((62, 78, 130), (78, 104, 150), (96, 130, 168), (110, 150, 182), (58, 66, 96))
GLASS_FRONT: tuple[Color, ...] = ((120, 110, 96), (96, 92, 88), (140, 134, 124))
SHOP_SIGNS: tuple[Color, ...] = (
    (40, 36, 170), (140, 70, 30), (60, 120, 40), (40, 180, 230), (60, 60, 60), (220, 220, 220), (120, 50, 110)
)  # fmt: skip
LIT: tuple[Color, ...] = ((96, 178, 236), (130, 200, 240), (170, 214, 236), (70, 140, 210))


@lru_cache(maxsize=4)
def _speckle(kind: str) -> npt.NDArray[np.uint8]:
    """(512, 512) u8 brightness around 128: fine plaster or courses of brick."""
    fine = 0.5 * grain(512, 2, 1) + 0.3 * grain(512, 8, 2) + 0.5 * grain(512, 64, 3)
    if kind == "brick":
        y, x = np.mgrid[0:512, 0:512]
        course = y // 4
        joint = (y % 4 == 0) | ((x + 5 * (course % 2)) % 10 == 0)
        fine = fine + 0.8 * grain(512, 4, 5) - 0.42 * joint - 0.2
    return np.asarray(np.clip(np.floor(128 + 52 * (fine - 0.65)), 0, 255), np.uint8)


def masonry(width: int, height: int, color: Color, kind: str, at: tuple[int, int]) -> Image:
    """A wall of this colour; ``kind`` is plaster or brick, ``at`` shifts the pattern."""
    rows, columns = ((start + np.arange(size)) % 512 for start, size in zip((-at[0], -at[1]), (height, width)))
    pattern = _speckle(kind).take(rows, axis=0).take(columns, axis=1)
    shades = np.minimum(np.arange(256)[:, None] / 128.0 * np.array(color), 255.0).astype(np.uint8)
    return np.asarray(cv2.LUT(cv2.merge([pattern] * 3), shades[None]), np.uint8)


def rect(image: Image, x0: float, y0: float, x1: float, y1: float, color: Color) -> None:
    """Fill [x0, x1) x [y0, y1), rounded to pixels."""
    cv2.rectangle(image, (round(x0), round(y0)), (round(x1) - 1, round(y1) - 1), color, -1)


@lru_cache(maxsize=16)
def facade(key: int, width_dm: int, floors: int, shops: bool, lit_percent: int) -> Texture:
    """The front of a house, ``width_dm`` decimetres wide."""
    dice = Dice(key, 41)
    width = max(8, round(width_dm / 10 * DENSITY))
    height = round(house_height(floors) * DENSITY)
    modern = dice.chance(0.22) and floors > 2
    kind = "brick" if dice.chance(0.4) and not modern else "plaster"
    color = dice.around(dice.choice(GLASS_FRONT if modern else BRICK if kind == "brick" else PLASTER), 16)
    image = masonry(width, height, color, kind, (dice.whole(0, 500), dice.whole(0, 500)))
    glow = np.zeros_like(image)
    trim = dice.around(dice.choice(((225, 228, 230), (205, 210, 214), (70, 72, 74), (170, 190, 205))), 10)
    bay = dice.between(1.7, 2.9) if not modern else dice.between(1.3, 1.8)
    count = max(1, int(width / DENSITY / bay))
    step = width / count
    share = dice.between(0.42, 0.6) if not modern else 0.9
    tall = dice.between(0.48, 0.66) if not modern else 0.62
    arched, sills = dice.chance(0.2) and not modern, dice.chance(0.7)
    shutters = tuple(c * 0.6 for c in dice.around((90, 110, 90), 40)) if dice.chance(0.2) and not modern else None
    for floor in range(1, floors):
        top = height - (GROUND_FLOOR + FLOOR * floor) * DENSITY + FLOOR * DENSITY * (1 - tall) * 0.55
        for k in range(count):
            x0 = step * k + step * (1 - share) / 2
            box = (x0, top, x0 + step * share, top + FLOOR * DENSITY * tall)
            if shutters is not None:
                side = step * share * 0.42
                rect(image, box[0] - side, box[1], box[2] + side, box[3], (shutters[0], shutters[1], shutters[2]))
            _window(image, glow, box, trim, dice, dice.chance(lit_percent / 100), arched=arched)
            if sills:
                rect(image, box[0] - 2, box[3], box[2] + 2, box[3] + 3, trim)
        if dice.chance(0.25):
            y = height - (GROUND_FLOOR + FLOOR * (floor - 1)) * DENSITY
            rect(image, 0, y - 4, width, y, (trim[0] * 0.8, trim[1] * 0.8, trim[2] * 0.8))
    if shops:
        _shop(image, glow, count, dice, lit_percent)
    else:
        _porch(image, glow, count, trim, dice, lit_percent)
    rect(image, 0, 0, width, 0.3 * DENSITY, trim)
    rect(image, 0, 0.3 * DENSITY, width, 0.42 * DENSITY, (color[0] * 0.5, color[1] * 0.5, color[2] * 0.5))
    rect(image, 0, 0, 2, height, (color[0] * 0.7, color[1] * 0.7, color[2] * 0.7))
    return Texture(image, DENSITY, glow if lit_percent > 5 else None)


def house_height(floors: int) -> float:
    """Metres from the pavement to the eaves."""
    return GROUND_FLOOR + FLOOR * (floors - 1) + 0.6


def _window(
    image: Image,
    glow: Image,
    box: tuple[float, float, float, float],
    trim: Color,
    dice: Dice,
    lit: bool,
    *,
    arched: bool,
) -> None:
    x0, y0, x1, y1 = box
    if arched:
        radius = (x1 - x0) / 2
        cv2.circle(image, (round(x0 + radius), round(y0 + 2)), round(radius), trim, -1)
    rect(image, x0 - 2, y0 - 2, x1 + 2, y1 + 2, trim)
    shade = dice.between(0.5, 1.25)
    glass = (86 * shade, 76 * shade, 66 * shade)
    rect(image, x0, y0, x1, y1, glass)
    rect(image, x0, y0, x1, y0 + (y1 - y0) * dice.between(0.1, 0.5), (glass[0] * 1.5, glass[1] * 1.45, glass[2] * 1.4))
    if dice.chance(0.4):
        side = (x1 - x0) * dice.between(0.15, 0.3)
        curtain = (150 * shade, 155 * shade, 158 * shade)
        rect(image, x0, y0, x0 + side, y1, curtain)
        rect(image, x1 - side, y0, x1, y1, curtain)
    if lit:
        warm = dice.choice(LIT)
        strength = dice.between(0.45, 1.0)
        rect(glow, x0, y0, x1, y1, (warm[0] * strength, warm[1] * strength, warm[2] * strength))
    middle = (x0 + x1) / 2
    for layer, color in ((image, trim), (glow, (0.0, 0.0, 0.0))):
        rect(layer, middle - 1, y0, middle + 1, y1, color)
        rect(layer, x0, y0 + (y1 - y0) * 0.35, x1, y0 + (y1 - y0) * 0.35 + 1.6, color)


def _shop(image: Image, glow: Image, count: int, dice: Dice, lit_percent: int) -> None:
    height, width = image.shape[:2]
    top = height - GROUND_FLOOR * DENSITY
    lit = dice.chance(min(0.9, lit_percent / 40))
    board = dice.around(dice.choice(SHOP_SIGNS), 14)
    frame = dice.around(dice.choice(((50, 50, 50), (90, 80, 70), (200, 200, 200), (50, 70, 40))), 10)
    rect(image, 0, top, width, height, frame)
    panes = max(1, count // 2) * 2
    pane = width / panes
    for k in range(panes):
        door = k == panes // 2
        low = height - (0.1 if door else 0.55) * DENSITY
        box = (k * pane + 3, top + 0.95 * DENSITY, (k + 1) * pane - 3, low)
        shade = dice.between(0.7, 1.2)
        rect(image, *box, (72 * shade, 64 * shade, 58 * shade))
        for _ in range(4):  # goods and reflections behind the glass
            x, y = dice.between(box[0], box[2] - 6), dice.between(box[1], box[3] - 8)
            rect(image, x, y, min(box[2], x + dice.between(4, 20)), min(box[3], y + dice.between(6, 24)),
                  dice.around((100, 100, 105), 70))  # fmt: skip
        if lit:
            strength = dice.between(0.5, 0.9)
            rect(glow, *box, (150 * strength, 200 * strength, 235 * strength))
    rect(image, 0, top + 0.15 * DENSITY, width, top + 0.8 * DENSITY, board)
    dark = sum(board) < 330
    ink: Color = (235.0, 238.0, 240.0) if dark else (40.0, 36.0, 36.0)
    x = width * dice.between(0.1, 0.35)
    for _ in range(dice.whole(4, 9)):  # letters, as they look from across the street
        w = dice.between(4, 9)
        rect(image, x, top + 0.3 * DENSITY, x + w, top + 0.64 * DENSITY, ink)
        if lit:
            rect(glow, x, top + 0.3 * DENSITY, x + w, top + 0.64 * DENSITY, (200.0, 220.0, 230.0))
        x += w + 3


def _porch(image: Image, glow: Image, count: int, trim: Color, dice: Dice, lit_percent: int) -> None:
    height, width = image.shape[:2]
    step, door = width / count, dice.whole(0, count - 1)
    rect(image, 0, height - 0.5 * DENSITY, width, height, (92, 94, 96))
    for k in range(count):
        x0 = step * k + step * 0.26
        x1 = step * k + step * 0.74
        if k == door:
            w = min(x1 - x0, 1.1 * DENSITY)
            paint = dice.around(dice.choice(((40, 60, 90), (60, 40, 30), (40, 40, 120), (70, 90, 50))), 16)
            top = height - 2.35 * DENSITY
            rect(image, x0 - 3, top - 4, x0 + w + 3, height, trim)
            rect(image, x0, top, x0 + w, height, paint)
            rect(image, x0 + 3, top + 4, x0 + w - 3, top + 0.5 * DENSITY, (96, 86, 76))
        else:
            box = (x0, height - 2.5 * DENSITY, x1, height - 1.0 * DENSITY)
            _window(image, glow, box, trim, dice, dice.chance(lit_percent / 100), arched=False)


@lru_cache(maxsize=8)
def blank_side(key: int, width_dm: int, floors: int) -> Texture:
    """The windowless end of a house, in the colours of its front."""
    dice = Dice(key, 41)
    modern = dice.chance(0.22) and floors > 2
    kind = "brick" if dice.chance(0.4) and not modern else "plaster"
    color = dice.around(dice.choice(GLASS_FRONT if modern else BRICK if kind == "brick" else PLASTER), 16)
    width, height = round(width_dm / 10 * DENSITY), round(house_height(floors) * DENSITY)
    image = masonry(width, height, color, kind, (dice.whole(0, 500), dice.whole(0, 500)))
    for _ in range(dice.whole(0, 3)):
        x, y = dice.between(0.1, 0.8) * width, dice.between(0.15, 0.7) * height
        rect(image, x, y, x + 0.9 * DENSITY, y + 1.3 * DENSITY, (74, 68, 62))
    return Texture(image, DENSITY)
