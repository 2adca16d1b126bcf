"""Flags that several commands read alike, and how a data set is called where folders do not belong."""

from __future__ import annotations

import argparse


def read_pixels(text: str) -> int:
    """A pixel budget from a flag."""
    if not (text.isascii() and text.isdigit()) or int(text) < 32 * 32:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of pixels from {32 * 32}")
    return int(text)


def score_name(text: str) -> str:
    """The data set without its folder: cards travel, folders do not."""
    kind, _, rest = text.partition(":")
    return f"{kind}:{rest.partition(':')[2] or 'train'}"
