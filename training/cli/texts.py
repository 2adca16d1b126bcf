"""Flags that several commands read alike, and how a data set is called where folders do not belong."""

from __future__ import annotations

import argparse
import re
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from perception.errors import ConfigError

MULTIPLE = 32  # of which the sides of a network's input are


def read_pixels(text: str) -> int:
    """A pixel budget from a flag."""
    if not (text.isascii() and text.isdigit()) or int(text) < 32 * 32:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of pixels from {32 * 32}")
    return int(text)


def read_size(text: str) -> tuple[int, int]:
    """The (w, h) of a network's input from a flag."""
    found = re.fullmatch(r"(\d{1,5})[xX](\d{1,5})", text.strip(), re.ASCII)
    width, height = (int(found[1]), int(found[2])) if found else (0, 0)
    if min(width, height) < MULTIPLE or width % MULTIPLE or height % MULTIPLE:
        raise argparse.ArgumentTypeError(f"{text!r} is not WIDTHxHEIGHT in multiples of {MULTIPLE}, such as 1248x384")
    return width, height


def whole(least: int) -> Callable[[str], int]:
    """What reads a whole number from a flag that is ``least`` or more."""

    def read(text: str) -> int:
        if not (text.isascii() and text.isdigit()) or int(text) < least:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {least}")
        return int(text)

    return read


def within(low: float, high: float) -> Callable[[str], float]:
    """What reads a number from ``low`` to ``high`` from a flag."""

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{text!r} is not a number from {low:g} to {high:g}")
        return value

    return read


def read_fact(text: str) -> tuple[str, str]:
    """A line of a model's card, given as KEY=TEXT. Raises ConfigError."""
    key, separator, value = text.partition("=")
    if not separator or not key:
        raise ConfigError(f"A fact is given as KEY=TEXT, got {text!r}.")
    return key, value


def score_name(text: str) -> str:
    """The data set without its folder: cards travel, folders do not. Rendered frames are named by their seed."""
    kind, _, rest = text.partition(":")
    folder, _, split = rest.partition(":")
    if kind == "synth" and re.fullmatch(r"\d+,\d+", folder):
        return f"synth:{folder}"
    return f"{kind}:{split or 'train'}"


def score_names(texts: Sequence[str]) -> dict[str, str]:
    """What each of several data sets is called: as ``score_name``; of those called alike, with the folder's own name.

    Raises:
        ConfigError: two would be called alike even so, and the scores of one would replace those of the other.
    """
    plain = {text: score_name(text) for text in texts}
    often = Counter(plain.values())
    found: dict[str, str] = {}
    for text, name in plain.items():
        called = name if often[name] == 1 else _name_with_folder(text)
        if called in found:
            raise ConfigError(
                f"{found[called]!r} and {text!r} would both be called {called!r}: give folders of two names, or leave "
                "one out."
            )
        found[called] = text
    return {text: called for called, text in found.items()}


def _name_with_folder(text: str) -> str:
    kind, folder, split = [*text.split(":"), ""][:3]
    return f"{kind}:{Path(folder).absolute().name}:{split or 'train'}"
