"""What spoils a picture on its way from the scene to the network, as models with known parameters.

Every function takes and gives u8 BGR and is driven by one ``numpy.random.Generator``, so that a spoilt frame
depends on its seed and on nothing else. ``strength`` is the parameter that the model is named after; what it may
be, what it is in tests, and from where it is drawn in training, stands in ``KINDS``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import cv2
import numpy as np
import numpy.typing as npt

from perception.errors import ConfigError
from perception.types import Image
from training.data.photometric import jpeg
from training.data.weather import rain

Kind = Literal["gaussian", "shot", "jpeg", "rain", "lowlight", "dark", "blur"]
Random = np.random.Generator

GAMMA = 2.2  # of the encoding that is taken off to come to linear light, and put on again
FULL_WELL = 2000.0  # electrons of a white pixel in daylight: a small pixel at a short exposure
READ_NOISE = 3.0  # electrons, standard deviation
MAX_GAIN = 32.0  # 30 dB: what the automatic gain of a camera at night brings back of the light, at most


@dataclass(frozen=True, slots=True)
class Degradation:
    """One way to spoil a picture: its function, the strength it is tested at, and the range it is learnt over."""

    spoil: Callable[[Image, float, Random], Image]
    strength: float
    learnt: tuple[float, float]  # uniform, in the logarithm where ``logarithmic``
    possible: tuple[float, float]
    logarithmic: bool = False

    def draw(self, random: Random) -> float:
        """A strength of the range that is learnt over."""
        low, high = self.learnt
        return (
            float(np.exp(random.uniform(np.log(low), np.log(high)))) if self.logarithmic else random.uniform(low, high)
        )


def gaussian(image: Image, sigma: float, random: Random) -> Image:
    """Normal noise of ``sigma`` grey levels, independent in every value; rounded and cut to 0..255."""
    noisy = image.astype(np.float32) + random.normal(0.0, sigma, image.shape).astype(np.float32)
    return _to_u8(noisy)


def shot(image: Image, electrons: float, random: Random) -> Image:
    """Poisson noise in linear light, where white is so many electrons."""
    return _to_u8(_encode(random.poisson(_linear(image) * electrons) / electrons))


def lowlight(image: Image, exposure: float, random: Random) -> Image:
    """A camera at night whose automatic gain makes up for what light is missing: as bright as by day, and noisy.

    Gamma is taken off; a pixel collects ``exposure * FULL_WELL`` electrons where daylight is white, a Poisson number
    of them, and ``READ_NOISE`` is added (the model of Foi et al. 2008, "Practical Poissonian-Gaussian noise
    modeling"). The gain multiplies both by ``1 / exposure``, ``MAX_GAIN`` at most; then gamma, clipping and rounding.
    """
    return _exposed(image, exposure, min(MAX_GAIN, 1 / exposure), random)


def dark(image: Image, exposure: float, random: Random) -> Image:
    """The same camera with its gain left at 1: as dark as the scene, in few grey levels."""
    return _exposed(image, exposure, 1.0, random)


def blur_by_shrinking(image: Image, factor: float, _random: Random) -> Image:
    """Shrunk by ``factor`` and enlarged to its size again, both bilinearly."""
    height, width = image.shape[:2]
    small = max(1, round(width / factor)), max(1, round(height / factor))
    shrunk = cv2.resize(image, small, interpolation=cv2.INTER_LINEAR)
    return np.asarray(cv2.resize(shrunk, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)


def _exposed(image: Image, exposure: float, gain: float, random: Random) -> Image:
    electrons = random.poisson(_linear(image) * (exposure * FULL_WELL)) + random.normal(0.0, READ_NOISE, image.shape)
    return _to_u8(_encode(np.clip(electrons * (gain / FULL_WELL), 0, 1)))


def _compressed(image: Image, quality: float, _random: Random) -> Image:
    return jpeg(image, round(quality))


def _rained_on(image: Image, _strength: float, random: Random) -> Image:
    return rain(image, random)


KINDS: dict[Kind, Degradation] = {
    "gaussian": Degradation(gaussian, 25.0, (2.0, 40.0), (0.0, 255.0)),  # standard deviation, grey levels
    "shot": Degradation(shot, 60.0, (20.0, 2000.0), (1.0, 1e6), logarithmic=True),  # electrons of white
    "jpeg": Degradation(_compressed, 15.0, (8.0, 60.0), (1.0, 100.0)),  # quality
    "rain": Degradation(_rained_on, 1.0, (1.0, 1.0), (1.0, 1.0)),  # streaks and veil as weather.rain draws them
    "lowlight": Degradation(lowlight, 0.02, (0.01, 0.15), (1e-4, 1.0), logarithmic=True),  # share of the daylight
    "dark": Degradation(dark, 0.02, (0.01, 0.15), (1e-4, 1.0), logarithmic=True),  # the same
    "blur": Degradation(blur_by_shrinking, 2.0, (2.0, 2.0), (1.0, 64.0)),  # factor, down and up again
}


def degradation(name: str) -> Degradation:
    """The degradation of this name. Raises ConfigError where there is none."""
    for kind in get_args(Kind):
        if kind == name:
            return KINDS[kind]
    raise ConfigError(f"There is no degradation {name!r}; there are {', '.join(KINDS)}.")


def spoil_at_random(image: Image, kinds: Sequence[Degradation], random: Random) -> Image:
    """The picture spoilt by one of ``kinds``, at a strength of its range; unchanged where there are none."""
    if not kinds:
        return image
    kind = kinds[int(random.integers(len(kinds)))]
    return kind.spoil(image, kind.draw(random), random)


def _linear(image: Image) -> npt.NDArray[np.float32]:
    table: npt.NDArray[np.float32] = np.asarray((np.arange(256) / 255) ** GAMMA, np.float32)
    return table[image]


def _encode(linear: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
    return np.asarray(255 * np.clip(linear, 0, 1) ** (1 / GAMMA), np.float32)


def _to_u8(values: npt.NDArray[np.floating]) -> Image:
    return np.asarray(np.clip(np.rint(values), 0, 255), np.uint8)
