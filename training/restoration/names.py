"""The networks by name; this module loads no Keras, so that the command line can offer them at once."""

from __future__ import annotations

from typing import Literal

Network = Literal["denoise", "lowlight", "subpixel", "fcn8s", "conv", "dense"]
Up = Literal["transposed", "unpool", "resize"]
Loss = Literal["l1", "l2"]
UNTRANSLATED: tuple[Network, ...] = ("dense",)  # takes patches, not frames
FACTORS: dict[Network, int] = {"subpixel": 2}  # by how much a network enlarges
