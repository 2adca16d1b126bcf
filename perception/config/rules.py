"""What a setting may be: checked where it comes from, and told in words where it does not fit."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, cast

from perception.errors import ConfigError

LARGEST_SIDE = 8192  # pixels, the limit of the wire protocol
SMALLEST_SIDE = 32


@dataclass(frozen=True)
class Rule:
    """What a setting may be, in words for the user and as two functions.

    ``read`` makes a value of text from a flag or variable; ``check`` makes one of a value from TOML or
    Python. Either raises ValueError or TypeError for what does not fit ``wanted``.
    """

    wanted: str
    read: Callable[[str], object]
    check: Callable[[object], object]


def whole(low: int, high: int, *, optional: bool = False) -> Rule:
    """A whole number."""

    def check(value: object) -> object:
        if optional and value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise ValueError
        return value

    return Rule(f"a whole number from {low} to {high}", lambda text: check(int(text)), check)


def number(low: float, high: float, *, optional: bool = False) -> Rule:
    """A number, as a float."""

    def check(value: object) -> object:
        if optional and value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
            raise ValueError
        return float(value)

    return Rule(f"a number from {low:g} to {high:g}", lambda text: check(float(text)), check)


def one_of(*names: str, optional: bool = False) -> Rule:
    """One of these words."""

    def check(value: object) -> object:
        if value not in names and not (optional and value is None):
            raise ValueError
        return value

    return Rule(f"one of {', '.join(names)}", check, check)


def text(wanted: str, pattern: str, *, optional: bool = False) -> Rule:
    """Text that matches a pattern from end to end."""

    def check(value: object) -> object:
        if optional and value is None:
            return None
        if not isinstance(value, str) or not re.fullmatch(pattern, value, re.DOTALL):
            raise ValueError
        return value

    return Rule(wanted, check, check)


def switch(*, optional: bool = False) -> Rule:
    """True or false; as text also yes, no, on, off, 1 and 0."""
    words = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}

    def check(value: object) -> object:
        if not isinstance(value, bool) and not (optional and value is None):
            raise TypeError
        return value

    def read(text: str) -> object:
        if text.lower() not in words:
            raise ValueError
        return words[text.lower()]

    return Rule("true or false", read, check)


def size() -> Rule:
    """(width, height), or a number of pixels."""

    def check(value: object) -> object:
        if value is None:
            return None
        if isinstance(value, str):
            return read(value)
        if isinstance(value, int) and not isinstance(value, bool):
            if not SMALLEST_SIDE**2 <= value <= LARGEST_SIDE**2:
                raise ValueError
            return value
        width, height = cast(Iterable[object], value)
        for side in (width, height):
            if isinstance(side, bool) or not isinstance(side, int) or not SMALLEST_SIDE <= side <= LARGEST_SIDE:
                raise ValueError
        return width, height

    def read(text: str) -> object:
        sides = [int(side) for side in re.split("[xX]", text.strip())]
        return check(sides[0] if len(sides) == 1 else tuple(sides))

    wanted = f"WIDTHxHEIGHT with sides from {SMALLEST_SIDE} to {LARGEST_SIDE}, or a number of pixels such as 147456"
    return Rule(wanted, read, check)


def seconds_or_never(high: float) -> Rule:
    """A number of seconds, or ``never``, which is None."""

    def check(value: object) -> object:
        if value is None or value == "never":
            return None
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= high:
            raise ValueError
        return float(value)

    return Rule(
        f"a number of seconds from 0 to {high:g}, or never",
        lambda text: check(text if text == "never" else float(text)),
        check,
    )


def nearest(name: str, known: Iterable[str]) -> str:
    """A sentence that names the known word most like ``name``, or else all of them."""
    words = sorted(known)
    close = difflib.get_close_matches(name, words, n=1, cutoff=0.5)
    return f"Did you mean {close[0]!r}?" if close else f"Known are: {', '.join(words)}."


def checked(convert: Callable[[Any], object], value: object, rule: Rule, where: str) -> object:
    """What ``convert``, one of the two functions of ``rule``, makes of a value; ConfigError says ``where`` it was."""
    try:
        return convert(value)
    except (TypeError, ValueError):
        raise ConfigError(f"{where} must be {rule.wanted}; got {value!r}.") from None
    except ConfigError as error:  # of a file that a value names, or of one of its own keys
        raise ConfigError(f"{where}: {error}") from None
