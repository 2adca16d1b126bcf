"""The loss that training minimises: a weighted sum."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from keras import ops

from training.data.borders import STEPS
from training.data.taxonomy import CLASSES
from training.losses.cross_entropy import hardest_mean, set_cross_entropy
from training.losses.dice import soft_dice
from training.losses.lovasz import lovasz_softmax
from training.losses.sets import Tensor, target_sets


@dataclass(frozen=True, kw_only=True, eq=False)
class SegmentationLoss:
    """Weights of the terms, and their settings; calling it gives the loss.

    A callable for ``keras.Model.compile``: labels (B, H, W), logits (B, h, w, 19), scalar out. Labels may be
    (B, H, W, 2): with what to add to a pixel's weight in the cross-entropy, in sixteenths (``BorderTerm``).
    Logits of another size are brought to that of the labels bilinearly.

    Raises:
        ValueError: a weight is negative or not finite, all are zero, or the class weights are not (19,).
    """

    cross_entropy: float = 1.0
    dice: float = 0.2
    lovasz: float = 0.0
    hard_share: float = 0.35  # of the cross-entropy: the mean over the hardest pixels; 1 takes all
    class_weights: npt.NDArray[np.float32] | None = None  # of the cross-entropy

    def __post_init__(self) -> None:
        terms = {"cross_entropy": self.cross_entropy, "dice": self.dice, "lovasz": self.lovasz}
        wrong = [f"{name} {weight}" for name, weight in terms.items() if not 0 <= weight < math.inf]
        if wrong:
            raise ValueError(f"The weights of a loss are finite and not negative, got {', '.join(wrong)}.")
        if not any(terms.values()):
            raise ValueError(f"One of {', '.join(terms)} must have a weight above zero.")
        if self.class_weights is not None and self.class_weights.shape != (CLASSES,):
            raise ValueError(f"class_weights must be ({CLASSES},), got {self.class_weights.shape}.")

    def __call__(self, labels: Tensor, logits: Tensor) -> Tensor:
        extra = ops.cast(labels[..., 1], "float32") / STEPS if len(labels.shape) == 4 else None
        labels = labels[..., 0] if len(labels.shape) == 4 else labels
        size = (labels.shape[1], labels.shape[2])
        logits = ops.cast(logits, "float32")
        if tuple(logits.shape[1:3]) != size:
            logits = ops.image.resize(logits, size, interpolation="bilinear")
        targets = target_sets(labels)
        loss = 0.0
        if self.cross_entropy:
            pixel_loss = set_cross_entropy(targets, logits, self.class_weights, extra)
            loss += self.cross_entropy * hardest_mean(pixel_loss, ops.max(targets, axis=-1), self.hard_share)
        if self.dice:
            loss += self.dice * soft_dice(targets, logits)
        if self.lovasz:
            loss += self.lovasz * lovasz_softmax(labels, logits)
        return loss
