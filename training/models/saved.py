"""Open the Keras models that runs leave behind."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import keras

from perception.errors import ModelError
from training.data.taxonomy import CLASSES
from training.models.blocks import Bilinear, CropLike, SavedDropout
from training.models.dilated import CentreIdentity
from training.models.subpixel import PixelShuffle, PixelUnshuffle
from training.models.unpooling import MaxPoolWithPlace, MaxUnpool

_OWN = (Bilinear, CentreIdentity, CropLike, MaxPoolWithPlace, MaxUnpool, PixelShuffle, PixelUnshuffle, SavedDropout)
_DETECTOR = "MaskRCNN"  # the class of training.mask_rcnn, which builds on this package


def load_model(path: Path) -> keras.Model:
    """A network from u8 frames to logits over the 19 classes, from a ``.keras`` file.

    Raises:
        ModelError: the file is missing or no Keras model, or a model of another kind.
    """
    if class_name(path) == _DETECTOR:
        raise ModelError(
            f"{path} is a Mask R-CNN, which `roadcast-train export` takes. Give here the .onnx file that it writes, or "
            "the .keras model that the detector was trained on."
        )
    model = open_keras(path)
    inputs, logits = getattr(model, "inputs", None), getattr(model, "outputs", None)
    if not inputs or not logits or inputs[0].dtype != "uint8" or logits[0].shape[-1] != CLASSES:
        raise ModelError(f"{path} is not a network from u8 frames to logits over {CLASSES} classes.")
    return model


def open_keras(path: Path) -> keras.Model:
    """Any model of ours from a ``.keras`` file. Raises ModelError where the file is missing or no Keras model."""
    if not path.is_file():
        raise ModelError(f"There is no Keras model {path}; give the model.keras of a run.")
    if path.suffix != ".keras" or not zipfile.is_zipfile(path):
        raise ModelError(f"{path} is not a Keras model; give the model.keras of a run.")
    try:
        return keras.models.load_model(path, {own.__name__: own for own in _OWN}, compile=False)
    except (ValueError, TypeError, LookupError, OSError, AttributeError, zipfile.BadZipFile) as error:
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise ModelError(f"{path} cannot be opened as a Keras model: {reason}") from None


def class_name(path: Path) -> str | None:
    """The class of the model in a ``.keras`` file; None where that cannot be read."""
    try:
        with zipfile.ZipFile(path) as archive:
            return str(json.loads(archive.read("config.json"))["class_name"])
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile):
        return None
