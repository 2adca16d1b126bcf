"""Frames of the synthetic street as training data, rendered when they are asked for: no folder, no files."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from perception.errors import ConfigError
from perception.synth.options import WEATHERS, Weather
from perception.synth.street import Street, SynthFrame
from perception.types import Image, LabelMap, Size
from training.synth import FPS, LAST_FRAME, MAX_SEED, Order, strips_of

SIZE: Size = (640, 360)


@dataclass(frozen=True, slots=True)
class StreetFrame:
    """One frame of one street."""

    seed: int
    weather: Weather
    number: int

    @property
    def path(self) -> Path:
        """What a file of it would be called."""
        return Path(f"synth{self.weather}") / f"synth{self.weather}_{self.seed:06d}_{self.number:06d}.png"

    def render(self) -> tuple[Image, LabelMap]:
        """The image, (360, 640, 3) u8 BGR, and its train ids."""
        frame = self.draw()
        return frame.image, frame.labels

    def draw(self) -> SynthFrame:
        """The image and all that is known about it; of the frame drawn last nothing is drawn twice."""
        return _drawn(self)


@lru_cache(maxsize=1)
def _drawn(frame: StreetFrame) -> SynthFrame:
    return _street(frame.seed, frame.weather).render(frame.number)


@lru_cache(maxsize=16)
def _street(seed: int, weather: Weather) -> Street:
    return Street(seed, SIZE, FPS, weather)


def frames_of(text: str) -> list[StreetFrame] | None:
    """The frames that ``SEED,N`` stands for: N of the street SEED, far apart, in all weathers; None for a folder.

    They are those that ``roadcast-train synth --seeds SEED --frames N`` writes.

    Raises:
        ConfigError: there is no such street, it has not so many frames, or two other words stand there.
    """
    found = _seed_and_count(text)
    if found is None:
        if "," in text and not Path(text).exists():
            raise _no_street(text)
        return None
    seed, count = found
    strips = strips_of(Order("train", count, (seed, seed), SIZE, WEATHERS))
    return [StreetFrame(strip.seed, strip.weather, number) for strip in strips for number in strip.numbers]


def drive_of(text: str) -> list[StreetFrame]:
    """The frames that ``synth:SEED,N`` stands for where frames follow one another: the first N of the street, by day.

    Raises:
        ConfigError: it is no such text, or there is no such street.
    """
    kind, _, rest = text.partition(":")
    found = _seed_and_count(rest) if kind == "synth" else None
    if found is None:
        raise ConfigError(f"Tracks are scored on rendered drives, synth:SEED,N; {text!r} is none.")
    return [StreetFrame(found[0], "day", number) for number in range(found[1])]


def _seed_and_count(text: str) -> tuple[int, int] | None:
    found = re.fullmatch(r"(\d{1,12}),(\d{1,12})", text)
    if found is None:
        return None
    seed, count = int(found[1]), int(found[2])
    if seed > MAX_SEED or not 1 <= count <= LAST_FRAME:
        raise _no_street(text)
    return seed, count


def _no_street(text: str) -> ConfigError:
    return ConfigError(
        f"synth:SEED,N takes a seed of 0..{MAX_SEED} and 1..{LAST_FRAME} frames, got {text!r}. "
        "Give several streets as several --data."
    )
