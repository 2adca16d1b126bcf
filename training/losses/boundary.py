"""The loss of a boundary head: 0.6 cross-entropy, 0.2 Dice of the bodies, 0.2 Dice of the borders."""

from __future__ import annotations

import math
from dataclasses import dataclass

from keras import ops

from training.data.boundaries import BODY, BORDER, WEIGHT
from training.losses.sets import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundaryLoss:
    """The mix of the Data Science Bowl 2018's winners; each channel is a question of its own, yes or no.

    Raises:
        ValueError: a weight is negative or not finite.
    """

    cross_entropy: float = 0.6
    body_dice: float = 0.2
    border_dice: float = 0.2

    def __post_init__(self) -> None:
        wrong = [w for w in (self.cross_entropy, self.body_dice, self.border_dice) if not 0 <= w < math.inf]
        if wrong:
            raise ValueError(f"The weights of a loss are finite and not negative, got {wrong[0]}.")

    def __call__(self, targets: Tensor, answers: list[Tensor]) -> Tensor:
        """Scalar f32. ``targets`` are (B, h, w, 3) of ``BoundaryTargets``; the answer is logits (B, h, w, 2)."""
        logits = ops.cast(answers[0], "float32")
        truth, weight = targets[..., : BORDER + 1], targets[..., WEIGHT:]
        entropy = ops.softplus(logits) - truth * logits
        loss = self.cross_entropy * ops.sum(weight * entropy) / ops.maximum(2 * ops.sum(weight), 1.0)
        dice = _dice(truth * weight, ops.sigmoid(logits) * weight)
        return loss + self.body_dice * dice[BODY] + self.border_dice * dice[BORDER]


def _dice(truth: Tensor, found: Tensor, epsilon: float = 1.0) -> Tensor:
    """(C,) 1 - the overlap of each channel over the whole batch."""
    overlap, total = ops.sum(truth * found, axis=(0, 1, 2)), ops.sum(truth + found, axis=(0, 1, 2))
    return 1 - (2 * overlap + epsilon) / (total + epsilon)
