"""Losses over logits and training label values (see ``training.data.taxonomy``).

Every loss takes ``labels`` (B, H, W) integers, 255 = void, or what :func:`target_sets` makes of them, and
``logits`` (B, H, W, 19) f32, and ignores void pixels. Keras operations only: any backend.
"""

from training.losses.cross_entropy import hardest_mean, set_cross_entropy
from training.losses.dice import soft_dice
from training.losses.lovasz import lovasz_softmax
from training.losses.segmentation import SegmentationLoss
from training.losses.sets import target_sets

__all__ = ["SegmentationLoss", "hardest_mean", "lovasz_softmax", "set_cross_entropy", "soft_dice", "target_sets"]
