"""Flags that several commands read alike, and how a data set is called where folders do not belong."""

from __future__ import annotations

import argparse
import re


def read_pixels(text: str) -> int:
    """A pixel budget from a flag."""
    if not (text.isascii() and text.isdigit()) or int(text) < 32 * 32:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of pixels from {32 * 32}")
    return int(text)


def score_name(text: str) -> str:
    """The data set without its folder: cards travel, folders do not. Rendered frames are named by their seed."""
    kind, _, rest = text.partition(":")
    folder, _, split = rest.partition(":")
    if kind == "synth" and re.fullmatch(r"\d+,\d+", folder):
        return f"synth:{folder}"
    return f"{kind}:{split or 'train'}"
