"""The centre head: where objects have their centres, and which way every cell's object lies.

Cheng et al. 2020, "Panoptic-DeepLab", section 3.2.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import layers

from training.models.instance_decoder import PREFIX, DecoderWidths, Trunk, instance_decoder, separable

Tensor = Any
_BRANCH = 32
_RARE = -4.0  # logit of a centre at the start: few cells hold one


def centre_head(trunk: Trunk) -> dict[str, Tensor]:
    """``centres`` (B, H/4, W/4, 1), logits of the heat map, and ``offsets`` (B, H/4, W/4, 2), (dy, dx) in cells."""
    x = instance_decoder(trunk, DecoderWidths())
    heat, way = (separable(x, _BRANCH, f"{PREFIX}_{name}") for name in ("heat", "way"))
    start = keras.initializers.Constant(_RARE)
    return {
        "centres": layers.Conv2D(1, 1, bias_initializer=start, dtype="float32", name="centres")(heat),
        "offsets": layers.Conv2D(2, 1, dtype="float32", name="offsets")(way),
    }
