"""Pictures of garden walls and fences."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from perception.synth.chance import Dice
from perception.synth.facades import BRICK, masonry, rect
from perception.synth.surfaces import Texture


@lru_cache(maxsize=8)
def wall(key: int, length_dm: int, height_dm: int) -> Texture:
    """A free-standing wall: brick, stone or concrete with a coping."""
    dice = Dice(key, 42)
    density = 40.0
    width, height = round(length_dm / 10 * density), round(height_dm / 10 * density)
    kind = dice.choice(("brick", "brick", "plaster"))
    palette = BRICK if kind == "brick" else ((150, 152, 152), (120, 134, 142), (170, 176, 178))
    color = dice.around(dice.choice(palette), 14)
    image = masonry(width, height, color, kind, (dice.whole(0, 500), dice.whole(0, 500)))
    if kind == "plaster":
        for x in range(0, width, round(2.5 * density)):
            rect(image, x, 0, x + 2, height, (color[0] * 0.6, color[1] * 0.6, color[2] * 0.6))
        for _ in range(dice.whole(0, 2)):  # graffiti
            at, paint = dice.between(0, width), dice.around((120, 120, 120), 110)
            for _ in range(6):
                end = dice.between(at, at + 60), dice.between(height * 0.3, height * 0.9)
                cv2.line(image, (round(at), round(height * 0.6)), (round(end[0]), round(end[1])), paint, 4)
                at = end[0]
    cap = (min(255.0, color[0] * 1.25), min(255.0, color[1] * 1.25), min(255.0, color[2] * 1.25))
    rect(image, 0, 0, width, 0.12 * density, cap)
    rect(image, 0, 0.12 * density, width, 0.18 * density, (color[0] * 0.5, color[1] * 0.5, color[2] * 0.5))
    return Texture(image, density)


@lru_cache(maxsize=8)
def fence(key: int, length_dm: int, height_dm: int) -> Texture:
    """Palings, railings or wire mesh; the last two can be seen through."""
    dice = Dice(key, 43)
    density = 40.0
    width, height = round(length_dm / 10 * density), round(height_dm / 10 * density)
    style = key % 3
    wood = dice.around(dice.choice(((80, 110, 140), (110, 130, 150), (225, 228, 228), (70, 90, 70))), 14)
    steel = dice.around(dice.choice(((40, 44, 40), (110, 112, 112), (60, 80, 50))), 10)
    color = wood if style == 0 else steel
    image = masonry(width, height, color, "plaster", (dice.whole(0, 500), 0))
    mask = np.zeros((height, width), np.uint8)
    rails = (0.06, 0.85) if style else (0.2, 0.75)
    pitch, bar = ((0.14, 0.115), (0.13, 0.035), (0.075, 0.02))[style]
    x = 0.0
    while x < width:
        top = 0.0 if style != 0 else dice.between(0, 3)
        cv2.rectangle(mask, (round(x), round(top)), (round(x + bar * density) - 1, height), 255, -1)
        cv2.line(image, (round(x), 0), (round(x), height), (color[0] * 0.55, color[1] * 0.55, color[2] * 0.55), 1)
        x += pitch * density
    if style == 2:
        for y in range(0, height, 6):
            cv2.line(mask, (0, y), (width, y), 255, 1)
    for share in rails:
        cv2.rectangle(mask, (0, round(height * share)), (width, round(height * share + 0.07 * density)), 255, -1)
    for post in range(0, width, round(2.0 * density)):
        cv2.rectangle(mask, (post, 0), (post + round(0.09 * density), height), 255, -1)
    return Texture(image, density, mask=mask)
