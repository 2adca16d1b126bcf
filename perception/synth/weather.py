"""What air, lens and sensor do to the finished picture: reflections, glow, rain, exposure, blur and noise."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from perception.synth.chance import Dice, mix, units
from perception.synth.light import Light
from perception.synth.options import StreetOptions
from perception.synth.palette import ROAD, SIDEWALK
from perception.synth.solids import Canvas, Glow
from perception.types import Image

BLOB = 65  # pixels of the stored picture of a glow


class Lens:
    """The optical and electronic part of one camera; varies with the seed."""

    def __init__(self, options: StreetOptions, light: Light) -> None:
        dice = Dice(options.seed, 91)
        self._seed, self._light, self._size = options.seed, light, options.size
        self._rain = options.weather == "rain"
        self._dark = light.lamp >= 1.0
        night = options.weather == "night"
        self._blur = dice.chance(0.5) or night
        self._grain = _noise(options.seed, dice.between(2.0, 6.0) * (1.8 if night else 1.0))
        self._curve = _tone_curve(dice, night=night)
        y, x = np.mgrid[-1 : 1 : BLOB * 1j, -1 : 1 : BLOB * 1j]
        far = x * x + y * y
        self._blob = np.clip((1.0 - far) / (1.0 + 14.0 * far), 0, 1).astype(np.float32)[..., None]
        self._halo = lru_cache(maxsize=256)(self._make_halo)
        self._streaks = _streaks(options) if self._rain else None

    def reflect(self, canvas: Canvas, horizon: float) -> None:
        """Mirror what is above the horizon in the wet ground."""
        height, width = canvas.shape[:2]
        top = int(horizon) + 2
        rows = min(height - top, top)  # what is mirrored; stretched where the ground is the larger part
        if self._light.wet <= 0 or rows < 8:
            return
        small = cv2.resize(
            canvas[top - rows : top, :, :3], (width // 2, max(1, rows // 8)), interpolation=cv2.INTER_AREA
        )
        mirror = cv2.resize(cv2.blur(small, (5, 3))[::-1], (width, height - top), interpolation=cv2.INTER_LINEAR_EXACT)
        under = canvas[top:]
        label = cv2.extractChannel(under, 3)
        table = np.zeros(256, np.uint8)
        table[[ROAD, SIDEWALK]] = 255
        share = self._light.wet
        level = np.arange(256.0)  # by table, not by cv2.addWeighted, whose rounding depends on the processor
        dry, shine = np.asarray(level * (1 - share), np.uint8), np.asarray(level * share, np.uint8)
        mixed = cv2.add(cv2.LUT(np.ascontiguousarray(under[..., :3]), dry), cv2.LUT(mirror, shine))
        layer = cv2.merge((*cv2.split(mixed), label))
        cv2.copyTo(layer, cv2.LUT(label, table), under)

    def shine(self, image: Image, index: npt.NDArray[np.uint8], glows: Sequence[Glow]) -> None:
        """Add the halo of every lamp that is not hidden, in place."""
        if not self._dark:
            return
        height, width = index.shape
        for glow in glows:
            x, y = int(glow.x + 0.5), int(glow.y + 0.5)
            if not (0 <= x < width and 0 <= y < height) or glow.radius < 0.6:
                continue
            if index[y, x] != glow.slot and index[min(height - 1, y + 1), x] != glow.slot:
                continue
            reach = min(int(glow.radius * 3) + 1, height // 3)
            x0, x1, y0, y1 = max(0, x - reach), min(width, x + reach + 1), max(0, y - reach), min(height, y + reach + 1)
            halo = self._halo(reach, glow.color)
            window = image[y0:y1, x0:x1]
            cv2.add(window, halo[y0 - y + reach : y1 - y + reach, x0 - x + reach : x1 - x + reach], dst=window)

    def _make_halo(self, reach: int, color: tuple[float, float, float]) -> Image:
        at = (np.arange(2 * reach + 1) * (BLOB - 1)) // (2 * reach)
        return np.asarray(self._blob[at[:, None], at[None]] * np.array(color, np.float32), np.uint8)

    def develop(self, image: Image, number: int) -> Image:
        """Blur, rain, noise and tone curve, for this frame."""
        height, width = image.shape[:2]
        if self._streaks is not None:
            y = mix(self._seed, 92, number) % height
            x = mix(self._seed, 93, number) % width
            image = _u8(cv2.add(image, self._streaks[y : y + height, x : x + width]))
        image = _u8(cv2.GaussianBlur(image, (3, 3), 0))
        if self._blur:
            image = _u8(cv2.blur(image, (2, 2)))
        y, x = mix(self._seed, 94, number) % 256, mix(self._seed, 95, number) % 256
        tile = self._grain
        rows, columns = -(-(height + 256) // 512), -(-(width + 256) // 512)
        noise = np.tile(tile, (rows, columns, 1))[y : y + height, x : x + width]
        return _u8(cv2.LUT(cv2.add(image, noise), self._curve))


def _u8(array: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """What OpenCV gave back, typed as the bytes it is; nothing is copied."""
    return np.asarray(array, np.uint8)


def _noise(seed: int, strength: float) -> Image:
    """(512, 512, 3) u8 noise around 16."""
    keys = np.arange(512 * 512 * 3).reshape(512, 512, 3)
    bell = sum(units(keys, mix(seed, 96, k)) for k in range(3)) - 1.5
    return np.asarray(np.clip(np.floor(16.5 + bell * 2.0 * strength), 0, 255), np.uint8)


def _tone_curve(dice: Dice, *, night: bool) -> npt.NDArray[np.uint8]:
    exposure = dice.between(0.82, 1.16)
    contrast = dice.between(0.9, 1.2)
    cast = [dice.between(0.95, 1.05) for _ in range(3)]
    level = np.maximum(0.0, np.arange(256.0) - 16)[:, None] / 239.0 * exposure * np.array(cast)
    bent = level + (contrast - 1.0) * level * (level - 0.5) * 1.4
    if night:
        bent = bent * 1.1
    lift = dice.between(0.0, 10.0)
    return np.asarray(np.clip(bent * 255.0 + lift, 0, 255), np.uint8).reshape(256, 1, 3)


def _streaks(options: StreetOptions) -> Image:
    width, height = options.size
    dice = Dice(options.seed, 97)
    image = np.zeros((2 * height, 2 * width, 3), np.uint8)
    lean = dice.between(-0.12, 0.12)
    for _ in range(1500):
        x, y = dice.whole(0, 2 * width), dice.whole(0, 2 * height)
        long = height * dice.between(0.02, 0.09)
        light = dice.between(10, 42)
        cv2.line(image, (x, y), (round(x + lean * long), round(y + long)), (light, light, light), 1)
    return np.asarray(cv2.blur(image, (2, 3)), np.uint8)
