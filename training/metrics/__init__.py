"""Scores: from one confusion matrix, along boundaries, and over time."""

from training.metrics.boundary import BoundaryTally
from training.metrics.confusion import (
    Confusion,
    accuracy_per_class,
    confusion_matrix,
    dice_from_iou,
    dice_per_class,
    frequency_weighted_iou,
    iou_from_dice,
    iou_per_class,
    mean_accuracy,
    mean_iou,
    pixel_accuracy,
)
from training.metrics.flicker import FlickerTally

__all__ = [
    "BoundaryTally",
    "Confusion",
    "FlickerTally",
    "accuracy_per_class",
    "confusion_matrix",
    "dice_from_iou",
    "dice_per_class",
    "frequency_weighted_iou",
    "iou_from_dice",
    "iou_per_class",
    "mean_accuracy",
    "mean_iou",
    "pixel_accuracy",
]
