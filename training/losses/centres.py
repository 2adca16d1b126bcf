"""The loss of a centre head (Cheng et al. 2020, "Panoptic-DeepLab", section 3.4), and of what its answers decide."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

from keras import ops

from training.data.centres import ACROSS, DOWN, HEAT, HEAT_WEIGHT, WAY_WEIGHT
from training.losses.assignment import PEAK, assignment
from training.losses.sets import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class CentreLoss:
    """Penalty-reduced focal loss of the heat map, L1 of the offsets, and the cross-entropy of where cells go.

    The heat map's term is that of Zhou, Wang, Krähenbühl 2019, "Objects as Points", equation 1, with its powers 2 and
    4, a sum over the cells divided by the number of centres, in place of Panoptic-DeepLab's squared error.

    Raises:
        ValueError: a weight is negative or not finite.
    """

    centres: float = 1.0
    offsets: float = 1.0
    assignment: float = 2.0

    def __post_init__(self) -> None:
        for name, weight in asdict(self).items():
            if not 0 <= weight < math.inf:
                raise ValueError(f"The weights of a loss are finite and not negative, got {name} {weight}.")

    def __call__(self, targets: Tensor, answers: list[Tensor]) -> Tensor:
        """Scalar f32. ``targets`` are (B, h, w, 5) of ``CentreTargets``; answers (B, h, w, 1) and (B, h, w, 2)."""
        heat, offsets = ops.cast(answers[0][..., 0], "float32"), ops.cast(answers[1], "float32")
        loss = self.centres * _focal(targets, heat) + self.offsets * _distance(targets, offsets)
        return loss + self.assignment * assignment(targets, heat, offsets)


def _focal(targets: Tensor, logits: Tensor) -> Tensor:
    truth, weight = targets[..., HEAT], targets[..., HEAT_WEIGHT]
    probability = ops.sigmoid(logits)
    peak = ops.cast(truth > PEAK, "float32")
    at_peaks = peak * (1 - probability) ** 2 * ops.log_sigmoid(logits)
    elsewhere = (1 - peak) * (1 - truth) ** 4 * probability**2 * ops.log_sigmoid(-logits)
    return -ops.sum(weight * (at_peaks + elsewhere)) / ops.maximum(ops.sum(weight * peak), 1.0)


def _distance(targets: Tensor, offsets: Tensor) -> Tensor:
    """Mean |dy| + |dx| of the error over the cells of objects, in cells."""
    weight = targets[..., WAY_WEIGHT]
    error = ops.abs(offsets[..., 0] - targets[..., DOWN]) + ops.abs(offsets[..., 1] - targets[..., ACROSS])
    return ops.sum(weight * error) / ops.maximum(ops.sum(weight), 1e-6)
