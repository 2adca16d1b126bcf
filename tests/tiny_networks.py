"""Every network at a fraction of its width, for tests that train or export it."""

from __future__ import annotations

from typing import Any

from training.models.dilated import dilated
from training.models.fcn import fcn
from training.models.light_unet import LightUNetWidths, light_unet
from training.models.segnet import segnet
from training.models.unet import unet

TRUNK = (16, 24, 32, 48, 48)


def narrow(name: str) -> Any:
    """The network at a fraction of its width; dropout is left out, for it is to learn by heart."""
    match name:
        case "fcn32s" | "fcn16s" | "fcn8s":
            stride: Any = int(name[3:-1])
            return fcn(stride, channels=(8, 12, 16, 24, 24), head=48, norm=True, dropout=0.0)
        case "unet":
            return unet(16, 3)
        case "segnet":
            return segnet((32, 32, 48, 64, 64))  # it gets no features from its encoder but through the bottom
        case "dilated":
            return dilated(TRUNK, head=64, norm=True, dropout=0.0)
        case _:
            return light_unet(LightUNetWidths(32, (32, 24, 24, 16)))
