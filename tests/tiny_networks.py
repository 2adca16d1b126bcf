"""Every network at a fraction of its width or depth, for tests that train or export it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from training.models import efficientnet_lite
from training.models.dilated import dilated
from training.models.fcn import fcn
from training.models.light_unet import LightUNetWidths, light_unet
from training.models.segnet import segnet
from training.models.unet import unet

TRUNK = (16, 24, 32, 48, 48)


@contextmanager
def shallow_encoder() -> Iterator[None]:
    """Inside, the encoder ``lite0`` has one block a stage, seven in all, of half the channels: traced twice as fast."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(efficientnet_lite._MULTIPLIERS, "lite0", (0.5, 0.1))
        yield


def narrow(name: str) -> Any:
    """The network at a fraction of its width, and of its depth; dropout is left out, for it is to learn by heart."""
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
            with shallow_encoder():
                return light_unet(LightUNetWidths(32, (32, 24, 24, 16)))
