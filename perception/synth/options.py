"""What may be asked of the street, and the reading of ``synth://street?seed=1&size=1280x720&...``."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args
from urllib.parse import parse_qsl, urlsplit

from perception.errors import ConfigError
from perception.types import Size

Weather = Literal["day", "dusk", "night", "rain"]
WEATHERS: tuple[Weather, ...] = get_args(Weather)
MIN_SIZE, MAX_SIZE = 64, 4096
KEYS = ("seed", "size", "fps", "weather", "frames")


@dataclass(frozen=True, slots=True)
class StreetOptions:
    """One rendered street. ``frames`` is None for an endless one.

    Raises:
        ConfigError: a value is outside what can be rendered.
    """

    seed: int = 1
    size: Size = (1280, 720)
    fps: float = 30.0
    weather: Weather = "day"
    frames: int | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 2**63:
            raise ConfigError(f"Street seed must be a whole number in 0..2^63-1, got {self.seed}.")
        if any(not MIN_SIZE <= n <= MAX_SIZE for n in self.size):
            got = f"{self.size[0]}x{self.size[1]}"
            raise ConfigError(f"Street size must be {MIN_SIZE}..{MAX_SIZE} pixels each way, got {got}.")
        if not (math.isfinite(self.fps) and 0.1 <= self.fps <= 1000):
            raise ConfigError(f"Street fps must be a number in 0.1..1000, got {self.fps:g}.")
        if self.weather not in WEATHERS:
            raise ConfigError(
                f"Street weather must be one of {', '.join(WEATHERS)}; got {self.weather!r}."
                + hint(self.weather, WEATHERS)
            )
        if self.frames is not None and self.frames < 1:
            raise ConfigError(f"Street frames must be at least 1, got {self.frames}. Leave it out for an endless one.")


def hint(given: str, allowed: Iterable[str]) -> str:
    """`` Did you mean 'x'?`` where one of the allowed words is near, else nothing."""
    near = difflib.get_close_matches(given, list(allowed), n=1)
    return f" Did you mean {near[0]!r}?" if near else ""


def parse_size(text: str) -> Size:
    """``1280x720`` as (1280, 720). Raises ConfigError."""
    match = re.fullmatch(r"(\d{1,5})x(\d{1,5})", text)
    if match is None:
        raise ConfigError(f"Size must be WIDTHxHEIGHT such as 1280x720, got {text!r}.")
    return int(match[1]), int(match[2])


def parse_uri(uri: str) -> StreetOptions:
    """The options in a ``synth://street?...`` address.

    Raises:
        ConfigError: another scene than ``street``, an unknown or repeated key, or a value that does not fit.
    """
    parts = urlsplit(uri)
    scene = parts.netloc + parts.path.rstrip("/")
    if parts.scheme != "synth" or scene != "street":
        raise ConfigError(f"{uri!r} is no rendered scene; the only one is synth://street." + hint(scene, ["street"]))
    values: dict[str, str] = {}
    for key, value in parse_qsl(parts.query, keep_blank_values=True):
        if key not in KEYS:
            raise ConfigError(f"synth://street has no option {key!r}; it takes {', '.join(KEYS)}." + hint(key, KEYS))
        if key in values:
            raise ConfigError(f"Option {key!r} appears twice in {uri!r}. Give it once.")
        values[key] = value
    return StreetOptions(
        seed=_whole("seed", values.get("seed", "1")),
        size=parse_size(values.get("size", "1280x720")),
        fps=_number("fps", values.get("fps", "30")),
        weather=values.get("weather", "day"),  # type: ignore[arg-type]  # checked by the dataclass
        frames=_whole("frames", values["frames"]) if "frames" in values else None,
    )


def format_uri(options: StreetOptions) -> str:
    """The address of these options, in full."""
    width, height = options.size
    uri = f"synth://street?seed={options.seed}&size={width}x{height}&fps={options.fps:g}&weather={options.weather}"
    return uri if options.frames is None else f"{uri}&frames={options.frames}"


def _whole(key: str, text: str) -> int:
    if re.fullmatch(r"\d{1,19}", text) is None:
        raise ConfigError(f"Street {key} must be a whole number, got {text!r}.")
    return int(text)


def _number(key: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ConfigError(f"Street {key} must be a number, got {text!r}.") from None
