"""A bad network on purpose: messages lost, late, or gone for seconds. The same seed does the same damage."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass

from perception.errors import ConfigError

LONGEST_S = 3600.0
EXAMPLE = "drop=1%,jitter=20ms,blackout=5s@10s,seed=7"
_SECONDS = {"ms": 0.001, "s": 1.0}
_TIME = r"(\d+(?:\.\d+)?)(ms|s)"


@dataclass(frozen=True, slots=True)
class Chaos:
    """What is done to the messages of a replay, by the time of the replay."""

    drop: float = 0.0  # share of all messages that are lost on the way, 0..1
    jitter_s: float = 0.0  # each message is late by up to this; they still come in order
    blackouts: tuple[tuple[float, float], ...] = ()  # from when to when everything is lost, seconds
    seed: int = 0


class Weather:
    """Deals out the chaos, message by message. The first message's time is 0."""

    def __init__(self, chaos: Chaos) -> None:
        self._chaos = chaos
        self._random = random.Random(chaos.seed)

    def delay_s(self) -> float:
        """How late the next message is."""
        return self._random.random() * self._chaos.jitter_s

    def loses(self, at_s: float) -> bool:
        """Whether a message that is sent at this time is lost on the way."""
        dark = any(begin <= at_s < end for begin, end in self._chaos.blackouts)
        return self._random.random() < self._chaos.drop or dark


def chaos_from_text(text: str) -> Chaos:
    """The chaos that a user wrote, as ``drop=1%,jitter=20ms,blackout=5s@10s,seed=7``.

    A blackout of 5 s begins 10 s after the start of the replay; there may be several.

    Raises:
        ConfigError: anything else.
    """
    drop, jitter_s, seed = 0.0, 0.0, 0
    blackouts: list[tuple[float, float]] = []
    for item in text.split(","):
        name, _, value = item.strip().partition("=")
        if name == "drop" and (found := re.fullmatch(r"(\d+(?:\.\d+)?)%", value)) and float(found[1]) <= 100:
            drop = float(found[1]) / 100
        elif name == "jitter" and (found := re.fullmatch(_TIME, value)):
            jitter_s = _seconds(text, found[1], found[2])
        elif name == "blackout" and (found := re.fullmatch(f"{_TIME}@{_TIME}", value)):
            begin = _seconds(text, found[3], found[4])
            blackouts.append((begin, begin + _seconds(text, found[1], found[2])))
        elif name == "seed" and re.fullmatch(r"\d{1,18}", value):
            seed = int(value)
        else:
            raise ConfigError(f"--chaos {text!r}: {item.strip()!r} is not understood. Write, for example, {EXAMPLE}.")
    return Chaos(drop, jitter_s, tuple(blackouts), seed)


def _seconds(text: str, number: str, unit: str) -> float:
    seconds = float(number) * _SECONDS[unit]
    if seconds > LONGEST_S:
        raise ConfigError(f"--chaos {text!r}: no time in it may be longer than {LONGEST_S:.0f} s.")
    return seconds
