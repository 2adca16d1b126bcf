"""Pictures of tree crowns and bushes: many leaf clusters, light from above."""

from __future__ import annotations

import math
from functools import lru_cache

import cv2
import numpy as np

from perception.synth.chance import Dice
from perception.synth.surfaces import Texture

SIZE = 320  # pixels of a crown's picture
GREENS = ((44, 96, 70), (40, 84, 62), (52, 110, 92), (36, 72, 54), (48, 120, 120), (40, 104, 140))
KINDS = ("round", "tall", "fir", "bare", "bush")


@lru_cache(maxsize=48)
def crown(key: int, kind: str) -> Texture:
    """One crown; ``key`` varies its outline and colour."""
    dice = Dice(key, 51)
    color = np.zeros((SIZE, SIZE, 3), np.uint8)
    mask = np.zeros((SIZE, SIZE), np.uint8)
    tint = dice.around(dice.choice(GREENS), 10)
    if kind == "bare":
        twig = dice.around((52, 60, 68), 10)
        color[:] = np.array(twig, np.uint8)
        for _ in range(5):
            _branch(color, mask, dice, (SIZE / 2, SIZE - 1.0), dice.between(-0.9, 0.9), SIZE * 0.30, 9.0)
        return Texture(color, SIZE, mask=mask)
    color[:] = np.array([c * 0.55 for c in tint], np.uint8)
    spots = [_spot(dice, kind) for _ in range(420 if kind != "fir" else 520)]
    spots.sort(key=lambda spot: (spot[2] < 0.4, -spot[1]))
    for x, y, edge in spots:
        radius = SIZE * dice.between(0.028, 0.062) * (1.0 if edge < 0.8 else 0.7)
        # Clusters are brighter towards the top and the sun's side, darker inside and below.
        bright = 0.62 + 0.75 * (1 - y) * dice.between(0.75, 1.25) + 0.12 * (x - 0.5)
        shade = [min(255.0, c * bright) for c in dice.around(tint, 9)]
        center, r = (round(x * SIZE), round(y * SIZE)), round(radius)
        axes = r, max(1, round(r * dice.between(0.55, 1.0)))
        angle = dice.whole(0, 180)
        cv2.ellipse(color, center, axes, angle, 0, 360, shade, -1)
        cv2.ellipse(mask, center, axes, angle, 0, 360, 255, -1)
        for _ in range(3):
            leaf = (round(center[0] + dice.between(-r, r)), round(center[1] + dice.between(-r, r)))
            light = dice.between(0.7, 1.35)
            cv2.circle(color, leaf, max(1, r // 4), [min(255.0, c * light) for c in shade], -1)
            cv2.circle(mask, leaf, max(1, r // 4), 255, -1)
    return Texture(color, SIZE, mask=mask)


def _spot(dice: Dice, kind: str) -> tuple[float, float, float]:
    """(x, y, distance from the middle 0..1) of a cluster inside the outline, in shares of the picture."""
    while True:
        u, v = dice.between(-1, 1), dice.between(-1, 1)
        far = (u * u + v * v) ** 0.5
        if kind == "fir":
            if abs(u) < (v + 1) / 2:
                return 0.5 + 0.42 * u, 0.5 + 0.46 * v, abs(u)
        elif far < 1.0:
            wave = 0.86 + 0.14 * math.floor(6 * dice.unit()) / 6
            if kind == "bush":
                return 0.5 + 0.45 * u * wave, 0.56 + 0.40 * v * wave, far
            return 0.5 + 0.44 * u * wave, 0.5 + 0.44 * v * wave, far


def _branch(
    color: np.ndarray,
    mask: np.ndarray,
    dice: Dice,
    start: tuple[float, float],
    lean: float,
    length: float,
    thick: float,
) -> None:
    # A direction without trigonometry: (lean, up) normalised.
    scale = (1 + lean * lean) ** -0.5
    end = start[0] + lean * scale * length, start[1] - scale * length
    points = (round(start[0]), round(start[1])), (round(end[0]), round(end[1]))
    cv2.line(mask, *points, 255, max(1, round(thick)))
    cv2.line(color, *points, [float(c) * dice.between(0.7, 1.2) for c in color[0, 0]], max(1, round(thick)))
    if length > SIZE * 0.035:
        for _ in range(3 if length < SIZE * 0.2 else 2):
            _branch(
                color, mask, dice, end, lean + dice.between(-0.9, 0.9), length * dice.between(0.6, 0.8), thick * 0.6
            )
