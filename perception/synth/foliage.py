"""Pictures of tree crowns and bushes: noise heaped into leaf clusters, lit from above."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt

from perception.synth.chance import Dice, grain
from perception.synth.surfaces import Texture
from perception.types import Image

SIZE = 384  # pixels of a crown's picture
VARIANTS = 6  # different crowns of a kind
GREENS = ((44, 96, 70), (40, 84, 62), (52, 110, 92), (36, 72, 54), (48, 120, 120), (40, 104, 140))
TINY = 0.06  # share of the picture below which a twig does not fork


@lru_cache(maxsize=8)
def _noise(cell: int, salt: int) -> npt.NDArray[np.float32]:
    return grain(SIZE, cell, salt).astype(np.float32) - np.float32(0.5)


@lru_cache(maxsize=32)
def crown(variant: int, kind: str) -> Texture:
    """One crown of a kind (round, tall, fir, bare, bush), ``variant`` below VARIANTS."""
    dice = Dice(variant, 51)
    tint = dice.around(dice.choice(GREENS), 10)
    roll = dice.whole(0, SIZE), dice.whole(0, SIZE)
    clusters, sprays, leaves, specks = (np.roll(_noise(c, 50 + c), roll, (0, 1)) for c in (64, 24, 8, 4))
    y, x = (v.astype(np.float32) / SIZE for v in np.mgrid[0:SIZE, 0:SIZE])
    if kind == "bare":
        return _bare(dice, (leaves + specks) * _inside(x, y, "round"))
    full = _inside(x, y, kind) + 0.85 * clusters + 0.6 * sprays + 0.45 * leaves + 0.2 * specks
    gaps = 0.8 * sprays + 0.7 * leaves + 0.3 * specks
    mask = ((full > 0.12) & (gaps > -0.56)).astype(np.uint8) * 255
    heap = 0.9 * clusters + 0.6 * sprays + 0.35 * leaves
    lit = heap - np.roll(heap, (7, -3), (0, 1))  # a cluster is bright where it rises towards the light
    shade = 0.80 + 1.5 * lit + 0.45 * (0.5 - y) + 0.35 * leaves + 0.30 * specks + 0.5 * clusters
    color = np.clip(shade, 0.25, 1.9)[..., None] * np.array(tint, np.float32)
    return Texture(np.ascontiguousarray(np.minimum(color, 255.0), np.uint8), SIZE, mask=np.ascontiguousarray(mask))


def _inside(x: npt.NDArray[np.float32], y: npt.NDArray[np.float32], kind: str) -> npt.NDArray[np.float32]:
    """How far inside the outline a place is: 1 in the middle, 0 on the edge."""
    if kind == "fir":
        return np.asarray(
            1.25 * (y * 0.46 + 0.02 - np.abs(x - 0.5)) / 0.46 + 0.1 - np.maximum(0.0, y - 0.94) * 20, np.float32
        )
    middle, high = (0.56, 0.40) if kind == "bush" else (0.5, 0.45)
    u, v = (x - 0.5) / 0.46, (y - middle) / high
    far = u * u + v * v
    return np.asarray(1.0 - far, np.float32)


def _bare(dice: Dice, twigs: npt.NDArray[np.float32]) -> Texture:
    color = np.zeros((SIZE, SIZE, 3), np.uint8)
    color[:] = np.array(dice.around((52, 60, 68), 10), np.uint8)
    mask = np.ascontiguousarray((twigs > 0.27).astype(np.uint8) * 255)
    for _ in range(5):
        _branch(color, mask, dice, (SIZE / 2, SIZE - 1.0), dice.between(-0.9, 0.9), 0.30, 10.0)
    return Texture(color, SIZE, mask=mask)


def _branch(
    color: Image,
    mask: npt.NDArray[np.uint8],
    dice: Dice,
    start: tuple[float, float],
    lean: float,
    length: float,
    thick: float,
) -> None:
    """Draw a branch and those that fork from it; ``lean`` is its slope, ``length`` a share of the picture."""
    scale = SIZE * length * (1 + lean * lean) ** -0.5
    end = start[0] + lean * scale, start[1] - scale
    points = (round(start[0]), round(start[1])), (round(end[0]), round(end[1]))
    cv2.line(mask, *points, 255, max(1, round(thick)))
    cv2.line(color, *points, [float(c) * dice.between(0.7, 1.2) for c in color[0, 0]], max(1, round(thick)))
    if length > TINY:
        for _ in range(3 if length > 0.15 else 2):
            turn, share = dice.between(-0.9, 0.9), dice.between(0.6, 0.8)
            _branch(color, mask, dice, end, lean + turn, length * share, thick * 0.6)
