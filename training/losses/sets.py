"""Label values as sets of train ids."""

from __future__ import annotations

from typing import Any

from keras import ops

from training.data.taxonomy import membership

Tensor = Any  # a tensor of whichever backend Keras runs on

NEVER = -1e9  # added to the logits of classes that a label rules out
_MEMBERSHIP = membership()


def target_sets(labels: Tensor) -> Tensor:
    """(B, H, W) label values to (B, H, W, 19) f32: 1 at every train id the value allows, 0 at void."""
    return ops.take(ops.convert_to_tensor(_MEMBERSHIP), ops.cast(labels, "int32"), axis=0)
