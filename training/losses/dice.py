"""Soft Dice: the overlap of prediction and truth, differentiable."""

from __future__ import annotations

from keras import ops

from training.losses.sets import NEVER, Tensor


def soft_dice(targets: Tensor, logits: Tensor, epsilon: float = 1.0) -> Tensor:
    """1 - (2 sum(p t) + epsilon) / (sum(p) + sum(t) + epsilon), mean over the classes and the batch.

    ``epsilon`` (pixels) stands in numerator and denominator, so that a class absent from both is agreement.
    A pixel with a coarse label belongs to the members of its set in proportion to the prediction, and
    whatever is predicted inside the set overlaps: no member is preferred.
    """
    logits = ops.convert_to_tensor(logits)
    probabilities = ops.softmax(logits, axis=-1) * ops.max(targets, axis=-1, keepdims=True)
    truth = ops.stop_gradient(ops.softmax(logits + (1 - targets) * NEVER, axis=-1)) * targets
    overlap = ops.sum(probabilities * targets, axis=(1, 2))
    total = ops.sum(probabilities, axis=(1, 2)) + ops.sum(truth, axis=(1, 2))
    return 1 - ops.mean((2 * overlap + epsilon) / (total + epsilon))
