"""How bright things are: sun, sky, haze and lamps of one weather, varied by the seed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from perception.synth.chance import Dice, Floats
from perception.synth.options import Weather

Color = tuple[float, float, float]  # blue, green, red; reflectances and radiances on the 0..255 scale
HEADLIGHT_REACH = 13.0  # metres at which our own headlights have lost half their power


@dataclass(frozen=True, slots=True)
class Light:
    """The light of one street. Powers are factors on a material's colour, per channel."""

    sun: tuple[float, float, float]  # unit vector towards the sun, world axes
    sun_power: Color
    ambient: Color
    haze: float  # 1 / metre
    fog: Color  # what haze fades into
    zenith: Color
    clouds: float  # 0 clear .. 1 closed
    shadow: float  # brightness of a cast shadow on the ground, 1 = none
    headlights: float  # power of our own headlights
    lamp: float  # brightness of a lamp that is switched on
    lit_windows: float  # share of windows with light in them
    wet: float  # strength of reflections on the ground

    def veil(self, depth: Floats | float) -> Floats:
        """Share of haze between here and there, 0..1, elementwise."""
        clear = 1.0 / (1.0 + self.haze * np.asarray(depth, np.float64))
        return np.asarray(1.0 - clear * clear)

    def power(self, depth: Floats, facing: Floats) -> Floats:
        """Factors (..., 3) on the colour of surfaces whose normal meets the sun at cosine ``facing``."""
        toward = np.maximum(facing, 0.0)[..., None]
        near = depth / HEADLIGHT_REACH
        beam = (self.headlights / (1.0 + near * near))[..., None]
        return np.asarray(np.array(self.ambient) + toward * np.array(self.sun_power) + beam)


def light_of(weather: Weather, seed: int) -> Light:
    """The light of this weather; sun direction, clouds and haze vary with the seed."""
    dice = Dice(seed, 901)
    side, ahead = dice.between(-1.0, 1.0), dice.between(-1.0, 1.0)
    if weather == "day":
        clouds = dice.unit()
        open_sky = max(0.0, 1.0 - 1.25 * clouds)
        bright = dice.between(0.85, 1.1)
        blue = dice.between(0.0, 1.0) * (1 - 0.7 * clouds)
        return Light(
            sun=_unit(side, dice.between(0.6, 1.6), ahead),
            sun_power=_times((0.62, 0.70, 0.76), open_sky * bright),
            ambient=_times((0.62, 0.59, 0.57), bright * (0.72 + 0.38 * clouds)),
            haze=dice.between(0.0006, 0.0022),
            fog=_mixed((235, 226, 216), (214, 216, 216), clouds),
            zenith=_mixed((240, 232, 224), (222, 158, 92), blue),
            clouds=clouds,
            shadow=1.0 - 0.55 * open_sky,
            headlights=0.0,
            lamp=0.9,
            lit_windows=0.03,
            wet=0.0,
        )
    if weather == "dusk":
        warm = dice.between(0.3, 1.0)
        return Light(
            sun=_unit(side, 0.22, 0.5 + abs(ahead)),
            sun_power=_times((0.20, 0.34, 0.52), 0.5 * warm),
            ambient=_times((0.42, 0.34, 0.33), dice.between(0.8, 1.15)),
            haze=dice.between(0.0012, 0.003),
            fog=_mixed((168, 150, 160), (110, 150, 214), warm),
            zenith=(132, 92, 74),
            clouds=dice.between(0.2, 0.8),
            shadow=0.8,
            headlights=0.10,
            lamp=1.0,
            lit_windows=0.3,
            wet=0.0,
        )
    if weather == "night":
        return Light(
            sun=_unit(side, 1.0, ahead),
            sun_power=(0.03, 0.03, 0.03),
            ambient=_times((0.13, 0.15, 0.18), dice.between(0.8, 1.3)),
            haze=dice.between(0.001, 0.0025),
            fog=(38, 33, 34),
            zenith=(26, 18, 16),
            clouds=dice.unit(),
            shadow=0.92,
            headlights=0.42,
            lamp=1.0,
            lit_windows=0.42,
            wet=dice.choice((0.0, 0.0, 0.35)),
        )
    return Light(
        sun=_unit(side, 1.2, ahead),
        sun_power=(0.05, 0.05, 0.05),
        ambient=_times((0.60, 0.58, 0.56), dice.between(0.75, 1.0)),
        haze=dice.between(0.004, 0.008),
        fog=(186, 182, 178),
        zenith=(168, 164, 162),
        clouds=1.0,
        shadow=0.94,
        headlights=0.03,
        lamp=1.0,
        lit_windows=0.18,
        wet=0.38,
    )


def _unit(x: float, y: float, z: float) -> tuple[float, float, float]:
    length = (x * x + y * y + z * z) ** 0.5
    return x / length, y / length, z / length


def _times(color: Color, factor: float) -> Color:
    return color[0] * factor, color[1] * factor, color[2] * factor


def _mixed(one: Color, two: Color, t: float) -> Color:
    b, g, r = (p + (q - p) * t for p, q in zip(one, two))
    return b, g, r
