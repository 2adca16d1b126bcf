"""The loss that training minimises: a weighted sum."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from keras import ops

from training.data.taxonomy import CLASSES
from training.losses.cross_entropy import hardest_mean, set_cross_entropy
from training.losses.dice import soft_dice
from training.losses.lovasz import lovasz_softmax
from training.losses.sets import Tensor, target_sets


class SegmentationLoss:
    """Hard-mined set cross-entropy, plus ``dice`` times soft Dice, plus ``lovasz`` times Lovász-softmax.

    A callable for ``keras.Model.compile``: labels (B, H, W), logits (B, h, w, 19), scalar out. Logits
    of another size are brought to that of the labels bilinearly.
    """

    def __init__(
        self,
        *,
        hard_share: float = 0.35,
        dice: float = 0.2,
        lovasz: float = 0.0,
        class_weights: npt.NDArray[np.float32] | None = None,
    ) -> None:
        if class_weights is not None and class_weights.shape != (CLASSES,):
            raise ValueError(f"class_weights must be ({CLASSES},), got {class_weights.shape}.")
        self._hard_share = hard_share
        self._dice = dice
        self._lovasz = lovasz
        self._class_weights = class_weights

    def __call__(self, labels: Tensor, logits: Tensor) -> Tensor:
        size = (labels.shape[1], labels.shape[2])
        logits = ops.cast(logits, "float32")
        if tuple(logits.shape[1:3]) != size:
            logits = ops.image.resize(logits, size, interpolation="bilinear")
        targets = target_sets(labels)
        pixel_loss = set_cross_entropy(targets, logits, self._class_weights)
        loss = hardest_mean(pixel_loss, ops.max(targets, axis=-1), self._hard_share)
        if self._dice:
            loss = loss + self._dice * soft_dice(targets, logits)
        if self._lovasz:
            loss = loss + self._lovasz * lovasz_softmax(labels, logits)
        return loss
