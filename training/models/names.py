"""The networks by name; this module loads no Keras, so that the command line can offer them at once."""

from __future__ import annotations

from typing import Literal

Network = Literal["light", "fcn32s", "fcn16s", "fcn8s", "unet", "segnet", "dilated"]
Head = Literal["centre", "boundary", "mask-rcnn"]  # what tells objects apart, on the network "light"
