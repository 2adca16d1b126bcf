"""Scores: from one confusion matrix, along boundaries, over time, and of separate objects."""

from training.metrics.boundary import BoundaryTally
from training.metrics.confusion import (
    Confusion,
    accuracy_per_class,
    confusion_matrix,
    dice_from_iou,
    dice_per_class,
    empty_confusion,
    frequency_weighted_iou,
    iou_from_dice,
    iou_per_class,
    mean_accuracy,
    mean_iou,
    pixel_accuracy,
)
from training.metrics.flicker import FlickerTally
from training.metrics.instances import InstanceScore, InstanceTally
from training.metrics.overlaps import InstanceTruth
from training.metrics.panoptic import PanopticScore, PanopticTally

__all__ = [
    "BoundaryTally",
    "Confusion",
    "FlickerTally",
    "InstanceScore",
    "InstanceTally",
    "InstanceTruth",
    "PanopticScore",
    "PanopticTally",
    "accuracy_per_class",
    "confusion_matrix",
    "dice_from_iou",
    "dice_per_class",
    "empty_confusion",
    "frequency_weighted_iou",
    "iou_from_dice",
    "iou_per_class",
    "mean_accuracy",
    "mean_iou",
    "pixel_accuracy",
]
