"""The boundary head: the bodies of objects, and the borders between those that touch (Data Science Bowl 2018)."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers

from training.models.blocks import conv_relu
from training.models.instance_decoder import PREFIX, Trunk, instance_decoder, join

Tensor = Any
CHANNELS = {16: 64, 8: 64, 4: 32}
_FINE = 16  # channels at stride 2
_RARE = -3.0  # logit of a border at the start


def boundary_head(trunk: Trunk) -> dict[str, Tensor]:
    """``boundary`` (B, H/2, W/2, 2): logits of *body* and of *border between touching objects*."""
    x = instance_decoder(trunk, CHANNELS)
    side = conv_relu(trunk.decoded[2], _FINE, 1, f"{PREFIX}2_side")
    x = join(x, side, _FINE, f"{PREFIX}2")
    start = keras.initializers.Constant(_RARE)
    return {"boundary": layers.Conv2D(2, 1, bias_initializer=start, dtype="float32", name="boundary")(x)}
