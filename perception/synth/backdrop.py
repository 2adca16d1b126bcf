"""The sky and the distant skyline, painted once per street and shifted as the camera turns."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from perception.synth.camera import Camera
from perception.synth.chance import Dice, Floats, grain, mix
from perception.synth.light import Light
from perception.synth.palette import BUILDING, SKY, VEGETATION
from perception.synth.solids import Canvas

MARGIN = 24  # rows below the horizon, for what the bounce of the camera uncovers


@dataclass(frozen=True, slots=True, eq=False)
class Backdrop:
    """A wide picture whose row ``horizon`` is the horizon; column ``middle`` lies straight along the street."""

    picture: Canvas
    horizon: int
    middle: int

    def draw(self, canvas: Canvas, camera: Camera) -> int:
        """Fill the canvas down to just below the horizon; returns the first row left alone."""
        height, width = canvas.shape[:2]
        row = int(camera.horizon + 0.5)
        shift = self.middle + int(camera.focal * camera.sin / camera.cos * camera.hand + 0.5) - width // 2
        shift = min(max(shift, 0), self.picture.shape[1] - width)
        top = self.horizon - row
        end = min(height, self.picture.shape[0] - top)
        canvas[:end] = self.picture[top : top + end, shift : shift + width]
        return int(end)


def paint_backdrop(seed: int, light: Light, camera: Camera) -> Backdrop:
    """Gradient, clouds, and the shapes at the end of the street."""
    dice = Dice(seed, 71)
    rows = int(camera.horizon) + 2 * MARGIN + int(0.03 * camera.focal)
    horizon = rows - MARGIN
    width = camera.width * 2
    height = np.maximum(0.0, (horizon - np.arange(rows)) / camera.focal)  # tangent of the elevation
    rise = height / (0.22 + height)
    rise = (rise * 1.35)[:, None, None]
    sky = np.array(light.fog) * (1 - np.minimum(rise, 1.0)) + np.array(light.zenith) * np.minimum(rise, 1.0)
    sky = np.repeat(sky, width, axis=1)
    if light.clouds > 0.05:
        sky += _clouds(seed, light, rows, width)
    picture = np.empty((rows, width, 4), np.uint8)
    picture[..., :3] = np.clip(sky, 0, 255).astype(np.uint8)
    picture[..., 3] = SKY
    _skyline(picture, horizon, dice, light, camera)
    return Backdrop(picture, horizon, width // 2)


def _clouds(seed: int, light: Light, rows: int, width: int) -> Floats:
    salt = mix(seed, 72)
    field = 0.55 * grain(512, 128, salt) + 0.3 * grain(512, 32, salt + 1) + 0.15 * grain(512, 8, salt + 2)
    cover = np.clip((field - (0.72 - 0.5 * light.clouds)) * 3.2, 0.0, 1.0)
    tone = np.clip(0.55 + 0.9 * (grain(512, 64, salt + 3) - 0.35), 0.0, 1.0)
    small = (cover * 255).astype(np.uint8), (tone * 255).astype(np.uint8)
    size = (width, max(rows, width // 4))
    cover_u8, tone_u8 = (cv2.resize(s, size, interpolation=cv2.INTER_LINEAR_EXACT)[-rows:] for s in small)
    power = sum(light.fog) / 765.0 + 0.05
    bright = np.array((255.0, 252.0, 250.0)) * power
    gray = np.array((176.0, 170.0, 168.0)) * power
    share = (cover_u8 / 255.0)[..., None] * 0.6
    color = gray + (bright - gray) * (tone_u8 / 255.0)[..., None]
    base = (np.array(light.fog) + np.array(light.zenith)) / 2
    return np.asarray((color - base) * share)


def _skyline(picture: Canvas, horizon: int, dice: Dice, light: Light, camera: Camera) -> None:
    rows, width = picture.shape[:2]
    veil = 0.62
    power = np.array(light.ambient)

    def tone(color: tuple[float, float, float]) -> list[float]:
        lit = np.array(color) * power
        return [float(c) for c in np.floor(np.minimum(lit * (1 - veil) + np.array(light.fog) * veil, 255.0))]

    x, unit_height = 0.0, camera.focal
    while x < width:
        wide = unit_height * dice.between(0.02, 0.07)
        high = unit_height * dice.between(0.012, 0.05)
        if dice.chance(0.5):
            color = (*tone(dice.around((150, 165, 180), 40)), float(BUILDING))
            cv2.rectangle(picture, (int(x), int(horizon - high)), (int(x + wide), rows), color, -1)
        else:
            color = (*tone(dice.around((60, 100, 84), 20)), float(VEGETATION))
            for _ in range(6):
                center = int(x + dice.between(0, wide)), int(horizon - high * dice.between(0.1, 0.5))
                cv2.circle(picture, center, max(2, int(high * dice.between(0.3, 0.6))), color, -1)
            cv2.rectangle(picture, (int(x), int(horizon - high * 0.4)), (int(x + wide), rows), color, -1)
        x += wide * dice.between(0.5, 1.0)
