"""Greedy non-maximum suppression with static shapes, in ``keras.ops``."""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import ops

from training.mask_rcnn.boxes import overlaps

Tensor = Any


def suppress(boxes: Tensor, valid: Tensor, threshold: float) -> Tensor:
    """(B, K) f32, 1 for what stays of boxes (B, K, 4) that are sorted by score, best first.

    A box goes if a better one that stays overlaps it by more than ``threshold`` (IoU). Instead of box by box all are
    decided at once, from what stayed in the round before, until nothing changes: after round n the first n are as the
    greedy order has them, so it ends, and there is one end only. Streets take a handful of rounds.

    Args:
        valid: (B, K) f32, 0 for boxes that do not take part.
    """
    count = boxes.shape[-2]
    better = ops.array(np.triu(np.ones((count, count), np.float32), 1))  # row j before column i
    rivals = ops.cast(overlaps(boxes, boxes, ops) > threshold, "float32") * better

    def undecided(kept: Tensor, before: Tensor) -> Tensor:
        return ops.any(kept != before)

    def decide(kept: Tensor, _before: Tensor) -> tuple[Tensor, Tensor]:
        beaten = ops.squeeze(ops.matmul(ops.expand_dims(kept, -2), rivals), -2)
        return valid * ops.cast(beaten < 0.5, "float32"), kept

    return ops.while_loop(undecided, decide, (valid, ops.zeros_like(valid) - 1.0), maximum_iterations=count + 1)[0]
