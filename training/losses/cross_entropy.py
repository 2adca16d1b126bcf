"""Cross-entropy of sets, and the mean over the pixels that are hardest."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from keras import ops

from training.losses.sets import NEVER, Tensor

_SAMPLING = 17  # a prime
_SMALLEST_SAMPLED = 4096  # pixels; smaller maps are sorted whole


def set_cross_entropy(
    targets: Tensor, logits: Tensor, class_weights: npt.NDArray[np.float32] | None = None, extra: Tensor | None = None
) -> Tensor:
    """(B, H, W) negative log of the summed probability of each pixel's set; 0 at void.

    For a set of one this is ordinary cross-entropy. A pixel is weighed by the mean of its set's
    ``class_weights`` (19,), 1 without, plus ``extra`` (B, H, W).
    """
    logits = ops.convert_to_tensor(logits)
    inside = ops.logsumexp(logits + (1 - targets) * NEVER, axis=-1)
    valid = ops.max(targets, axis=-1)
    loss = (ops.logsumexp(logits, axis=-1) - inside) * valid
    if class_weights is None:
        return loss if extra is None else loss * (1.0 + extra)
    members = ops.maximum(ops.sum(targets, axis=-1), 1.0)
    weights = ops.sum(targets * ops.convert_to_tensor(class_weights), axis=-1) / members
    return loss * (weights if extra is None else weights + extra)


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
