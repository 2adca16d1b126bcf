"""Open the detectors that runs leave behind."""

from __future__ import annotations

from pathlib import Path

from perception.errors import ModelError
from training.mask_rcnn.network import MaskRCNN
from training.models.saved import class_name, open_keras


def is_detector(path: Path) -> bool:
    """Whether a ``.keras`` file holds a Mask R-CNN; what cannot be read holds none."""
    return bool(class_name(path) == MaskRCNN.__name__)


def load_detector(path: Path) -> MaskRCNN:
    """The detector in a ``.keras`` file. Raises ModelError where there is none."""
    model = open_keras(path)
    if not isinstance(model, MaskRCNN):
        raise ModelError(f"{path} is no Mask R-CNN; give the model.keras of a run with --head mask-rcnn.")
    return model
