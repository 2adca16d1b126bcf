"""Rain, fog, dusk and night, put onto a picture taken by day.

Cheap imitations, at most two milliseconds for 384x288: they move the statistics of a picture to where
bad weather moves them (contrast, colour, light from below, sight) and leave labels as they are.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from perception.types import Image
from training.data.photometric import add_noise, tone

_FAR = 7.0  # distances are counted in that of the nearest row of the frame, and end here
_COARSE = 8  # light falls off smoothly: it is computed for every eighth pixel
_FIX = 8  # fractional bits of the per-row mix


def fog(image: Image, below_horizon: npt.NDArray[np.float64], random: np.random.Generator) -> Image:
    """Airlight mixed in as exp(-density distance) leaves it (Koschmieder's law).

    The distance of a row is that of flat ground: 1 / ``below_horizon``, which is (H,), 0 at the horizon
    and 1 at the picture's lower edge. What rises above the horizon is taken to be far.
    """
    distance = np.minimum(1 / np.maximum(below_horizon, 1e-3), _FAR)
    seen = np.exp(-random.uniform(0.05, 0.22) * distance)
    air = random.uniform(140, 230) * random.uniform(0.98, 1.02, 3)
    keep = np.round(seen * (1 << _FIX)).astype(np.uint16)[:, None, None]
    veil = np.round((1 - seen)[:, None] * air * (1 << _FIX)).astype(np.uint16)[:, None, :]
    return ((image * keep + veil) >> _FIX).astype(np.uint8)


def rain(image: Image, random: np.random.Generator) -> Image:
    """Less contrast and colour, a grey veil, and bright streaks of one direction."""
    height, width = image.shape[:2]
    image = _fade(image, colour=random.uniform(0.5, 0.85), contrast=random.uniform(0.6, 0.85), grey=110)
    count = int(random.uniform(0.0006, 0.003) * height * width)
    length = random.uniform(0.03, 0.1) * height * random.uniform(0.4, 1.0, count)
    slant = random.uniform(-0.3, 0.3)
    start = random.random((count, 2)) * (width, height)
    end = start + length[:, None] * (slant, 1.0)
    streaks = np.zeros((height, width), np.uint8)
    lines = np.round(np.stack([start, end], axis=1)).astype(np.int32)
    cv2.polylines(streaks, list(lines), isClosed=False, color=int(random.integers(35, 90)))
    streaks = np.asarray(cv2.blur(streaks, (2, 3)), np.uint8)
    return np.asarray(cv2.add(image, cv2.cvtColor(streaks, cv2.COLOR_GRAY2BGR)), np.uint8)


def dusk(image: Image, random: np.random.Generator) -> Image:
    """Little light, of a colour between red and blue, and a camera that lifts its noise with it."""
    warm = random.uniform(-1, 1)
    balance = np.array([1 - 0.15 * warm, 1 - 0.03 * abs(warm), 1 + 0.15 * warm])
    image = _fade(image, colour=random.uniform(0.5, 0.95), contrast=random.uniform(0.75, 1.0), grey=100)
    image = tone(image, gain=_gain_to(image, random.uniform(30, 70)) * balance, gamma=random.uniform(0.9, 1.2))
    return add_noise(image, random.uniform(1, 6), random)


def night(image: Image, below_horizon: npt.NDArray[np.float64], random: np.random.Generator) -> Image:
    """Near darkness, the pool of the headlights on the ground, lamps with a glow, and noise."""
    height, width = image.shape[:2]
    rows = cv2.resize(below_horizon[:, None], (1, max(1, height // _COARSE)), interpolation=cv2.INTER_AREA)
    columns = (np.arange(max(1, width // _COARSE)) * _COARSE - width * random.uniform(0.35, 0.65)) / width
    spread = 0.12 + 0.5 * rows  # the pool widens towards the car
    pool = np.exp(-((columns / spread) ** 2) / 2) * np.clip(rows / 0.1, 0, 1) * random.uniform(0.3, 0.7)
    light = np.minimum(_gain_to(image, random.uniform(14, 32)) + pool, 1)
    tint = np.array([random.uniform(0.85, 1.0), 0.85, random.uniform(0.7, 0.9)])
    light_map = cv2.resize((light[..., None] * tint * 255).astype(np.uint8), (width, height))
    dark = np.asarray(cv2.multiply(image, light_map, scale=1 / 255), np.uint8)
    return add_noise(_lamps(dark, random), random.uniform(3, 10), random)


def _lamps(image: Image, random: np.random.Generator) -> Image:
    """A few lights with a glow around them, added at an eighth of the size."""
    height, width = image.shape[:2]
    glow = np.zeros((height // _COARSE + 1, width // _COARSE + 1, 3), np.uint8)
    for _ in range(int(random.integers(0, 7))):
        place = int(random.integers(glow.shape[1])), int(random.uniform(0.1, 0.65) * glow.shape[0])
        colour = tuple(int(v) for v in random.uniform(0.6, 1.0) * np.array([random.integers(120, 240), 225, 255]))
        cv2.circle(glow, place, 1, colour, -1)
    glow = np.asarray(cv2.GaussianBlur(glow, (0, 0), random.uniform(0.8, 1.6)), np.uint8)
    return np.asarray(cv2.add(image, cv2.resize(glow, (width, height))), np.uint8)


def _gain_to(image: Image, mean: float) -> float:
    """The factor that brings the picture to this mean, 1 if it is as dark already."""
    return min(1.0, mean / (float(image[::4, ::4].mean()) + 1))


def _fade(image: Image, *, colour: float, contrast: float, grey: float) -> Image:
    """Towards the picture without colour, and towards ``grey``: shares that are kept."""
    plain = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
    lift = grey * (1 - contrast)
    return np.asarray(cv2.addWeighted(image, colour * contrast, plain, (1 - colour) * contrast, lift), np.uint8)
