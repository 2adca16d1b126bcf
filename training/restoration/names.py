"""The networks by name; this module loads no Keras, so that the command line can offer them at once."""

from __future__ import annotations

from typing import Literal

Network = Literal["denoise", "lowlight", "subpixel", "fcn8s", "conv", "dense"]
Up = Literal["transposed", "unpool", "resize"]
Loss = Literal["l1", "l2"]
# By how much a network enlarges.
FACTORS: dict[Network, int] = {"subpixel": 2}
