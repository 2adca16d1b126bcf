"""The boundary head: the bodies of objects, and the borders between those that touch (Data Science Bowl 2018)."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers

from training.models.instance_decoder import PREFIX, DecoderWidths, Trunk, instance_decoder, separable

Tensor = Any
_RARE = -3.0  # logit at the start: few cells hold a border


def boundary_head(trunk: Trunk) -> dict[str, Tensor]:
    """``boundary`` (B, H/4, W/4, 2): logits of *body* and of *border between touching objects*."""
    x = instance_decoder(trunk, DecoderWidths())
    x = separable(x, x.shape[-1], f"{PREFIX}_boundary")
    start = keras.initializers.Constant(_RARE)
    return {"boundary": layers.Conv2D(2, 1, bias_initializer=start, dtype="float32", name="boundary")(x)}
