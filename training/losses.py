"""Losses over logits and training label values (see ``training.data.taxonomy``).

Every loss takes ``labels`` (B, H, W) integers, 255 = void, and ``logits`` (B, H, W, 19) f32, and
ignores void pixels. Keras operations only: any backend.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from keras import ops

from training.data.taxonomy import CLASSES, membership

Tensor = Any  # a tensor of whichever backend Keras runs on

_NEVER = -1e9  # added to the logits of classes that a label rules out
_MEMBERSHIP = membership()
_SAMPLING = 17  # a prime
_SMALLEST_SAMPLED = 4096  # pixels; smaller maps are sorted whole


def target_sets(labels: Tensor) -> Tensor:
    """(B, H, W) label values to (B, H, W, 19) f32: 1 at every train id the value allows, 0 at void."""
    return ops.take(ops.convert_to_tensor(_MEMBERSHIP), ops.cast(labels, "int32"), axis=0)


def set_cross_entropy(targets: Tensor, logits: Tensor, class_weights: npt.NDArray[np.float32] | None) -> Tensor:
    """(B, H, W) negative log of the summed probability of each pixel's set; 0 at void.

    For a set of one this is ordinary cross-entropy. ``class_weights`` (19,) weighs a pixel by the mean
    weight of its set's members.
    """
    inside = ops.logsumexp(logits + (1 - targets) * _NEVER, axis=-1)
    valid = ops.max(targets, axis=-1)
    loss = (ops.logsumexp(logits, axis=-1) - inside) * valid
    if class_weights is not None:
        members = ops.maximum(ops.sum(targets, axis=-1), 1.0)
        loss = loss * ops.sum(targets * ops.convert_to_tensor(class_weights), axis=-1) / members
    return loss


def hardest_mean(pixel_loss: Tensor, valid: Tensor, share: float) -> Tensor:
    """Mean over the hardest ``share`` of an image's valid pixels: online hard example mining.

    ``pixel_loss`` and ``valid`` (0 or 1) are (B, H, W). The cut is the image's own quantile, so that it
    adapts as the network learns (Wu, Shen, van den Hengel 2016, "High-performance Semantic Segmentation
    Using Very Deep Fully Convolutional Networks").
    """
    batch = ops.shape(pixel_loss)[0]
    flat = ops.reshape(pixel_loss, (batch, -1))
    flat_valid = ops.reshape(valid, (batch, -1))
    if share >= 1:
        return ops.sum(flat * flat_valid) / ops.maximum(ops.sum(flat_valid), 1.0)
    # Every 17th pixel is enough to place the cut; 17 shares no factor with the width, so no column is preferred.
    step = _SAMPLING if flat.shape[1] is None or flat.shape[1] > _SMALLEST_SAMPLED else 1
    sample = ops.sort(ops.stop_gradient(ops.where(flat_valid > 0, flat, -1.0))[:, ::step], axis=-1)  # void first
    candidates = ops.sum(ops.cast(sample >= 0, "int32"), axis=-1, keepdims=True)
    wanted = ops.cast(ops.ceil(share * ops.cast(candidates, "float32")), "int32")
    cut = ops.take_along_axis(sample, ops.shape(sample)[1] - ops.maximum(wanted, 1), axis=-1)
    kept = flat_valid * ops.cast(flat >= cut, flat.dtype)
    return ops.sum(flat * kept) / ops.maximum(ops.sum(kept), 1.0)


def soft_dice(targets: Tensor, logits: Tensor) -> Tensor:
    """1 minus the soft Dice coefficient, 2|A B| / (|A| + |B|), mean over the classes and the batch.

    One stands in numerator and denominator, so that a class absent from both counts as agreement.
    A pixel with a coarse label belongs to the members of its set in proportion to the prediction, and
    whatever is predicted inside the set overlaps: no member is preferred.
    """
    probabilities = ops.softmax(logits, axis=-1) * ops.max(targets, axis=-1, keepdims=True)
    truth = ops.stop_gradient(ops.softmax(logits + (1 - targets) * _NEVER, axis=-1)) * targets
    overlap = ops.sum(probabilities * targets, axis=(1, 2))
    total = ops.sum(probabilities, axis=(1, 2)) + ops.sum(truth, axis=(1, 2))
    return 1 - ops.mean((2 * overlap + 1.0) / (total + 1.0))


class SegmentationLoss:
    """Hard-mined set cross-entropy plus ``dice`` times soft Dice.

    A callable for ``keras.Model.compile``: labels (B, H, W), logits (B, h, w, 19), scalar out. Logits
    of another size are brought to that of the labels bilinearly.
    """

    def __init__(
        self, *, hard_share: float = 0.35, dice: float = 0.2, class_weights: npt.NDArray[np.float32] | None = None
    ) -> None:
        if class_weights is not None and class_weights.shape != (CLASSES,):
            raise ValueError(f"class_weights must be ({CLASSES},), got {class_weights.shape}.")
        self._hard_share = hard_share
        self._dice = dice
        self._class_weights = class_weights

    def __call__(self, labels: Tensor, logits: Tensor) -> Tensor:
        size = (labels.shape[1], labels.shape[2])
        logits = ops.cast(logits, "float32")
        if tuple(logits.shape[1:3]) != size:
            logits = ops.image.resize(logits, size, interpolation="bilinear")
        targets = target_sets(labels)
        pixel_loss = set_cross_entropy(targets, logits, self._class_weights)
        loss = hardest_mean(pixel_loss, ops.max(targets, axis=-1), self._hard_share)
        return loss + self._dice * soft_dice(targets, logits) if self._dice else loss
