"""Open the detectors that runs leave behind, and go on from them."""

from __future__ import annotations

from pathlib import Path

from perception.errors import ModelError
from training.mask_rcnn.network import MaskRCNN
from training.models.saved import class_name, open_keras
from training.models.start import Start, copy_layers


def is_detector(path: Path) -> bool:
    """Whether a ``.keras`` file holds a Mask R-CNN; what cannot be read holds none."""
    return bool(class_name(path) == MaskRCNN.__name__)


def load_detector(path: Path) -> MaskRCNN:
    """The detector in a ``.keras`` file. Raises ModelError where there is none."""
    model = open_keras(path)
    if not isinstance(model, MaskRCNN):
        raise ModelError(f"{path} is no Mask R-CNN; give the model.keras of a run with --head mask-rcnn.")
    return model


def start_detector(model: MaskRCNN, path: Path) -> Start:
    """Copy every layer of the detector in ``path`` into another one.

    Raises:
        ModelError: the file holds no detector, or one of another width or encoder.
    """
    old = load_detector(path)
    names = "trunk", "rpn", "box_head", "mask_head"
    starts = [copy_layers(getattr(model, name), getattr(old, name), path) for name in names]
    copied = [layer for start in starts for layer in start.copied]
    return Start(path, copied, new=[layer for start in starts for layer in start.new], left=[])
