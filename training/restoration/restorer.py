"""Ask a network for a better picture, whatever the frame's size."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import keras
import numpy as np
import numpy.typing as npt

from perception.errors import ModelError
from perception.types import Image
from training.models.instance_decoder import PREFIX
from training.models.saved import open_keras
from training.models.start import start_from

Restorer = Callable[[Image], Image]
_MULTIPLE = 32
_OF_CLASSES = ("logits", "auxiliary", PREFIX, "centres", "offsets", "boundary")  # what has no place in a picture


def load_restorer(path: Path) -> keras.Model:
    """A network from u8 frames to pictures, from a ``.keras`` file.

    Raises:
        ModelError: the file is missing or no Keras model, or a model of another kind.
    """
    model = open_keras(path)
    inputs, outputs = getattr(model, "inputs", None), getattr(model, "outputs", None)
    if not inputs or not outputs or inputs[0].dtype != "uint8" or outputs[0].shape[-1] != 3:
        raise ModelError(f"{path} is not a network from u8 frames to pictures; `roadcast-train restore` makes one.")
    return model


def begin_with(model: keras.Model, path: Path) -> None:
    """Give ``model`` the weights of one of the same network, or what it shares with a segmentation network.

    Raises:
        ModelError: the file is missing or no model, or one of another network.
    """
    try:
        restorer = load_restorer(path)
    except ModelError:
        start_from(model, path, without=_OF_CLASSES)
        return
    try:
        model.set_weights(restorer.get_weights())
    except ValueError:
        raise ModelError(
            f"{path} is another network than the one to train, {model.name!r}: give a model of the same settings."
        ) from None


def factor_of(model: keras.Model) -> int:
    """By how much the network enlarges."""
    side = model.inputs[0].shape[1] or 64
    return int(model.compute_output_shape((1, side, side, 3))[1]) // side


def multiple_of(model: keras.Model) -> int:
    """What the sides of a frame must divide by: the smallest power of two whose threefold the layers take.

    Raises:
        ModelError: the network takes none up to 64.
    """
    factor = factor_of(model)
    for multiple in (1, 2, 4, 8, 16, 32, 64):
        side = 3 * multiple
        try:
            shape = model.compute_output_shape((1, side, side, 3))
        except ValueError:
            continue
        if tuple(shape[1:3]) == (factor * side, factor * side):
            return multiple
    raise ModelError(f"{model.name!r} does not give back a picture of the frame's size, or a multiple of it.")


def keras_restorer(model: keras.Model) -> Restorer:
    """Frames (H, W, 3) u8 BGR to (factor H, factor W, 3).

    Sides that the network does not take are filled up with a repeated edge, which is cut off again; what takes
    patches of one size alone is asked patch by patch.
    """
    factor, side = factor_of(model), model.inputs[0].shape[1]

    def restore(image: Image) -> Image:
        height, width = image.shape[:2]
        step = side or _MULTIPLE
        padded = cv2.copyMakeBorder(image, 0, -height % step, 0, -width % step, cv2.BORDER_REPLICATE)
        batch = _tiles(np.asarray(padded), side) if side else np.asarray(padded)[None]
        values = np.asarray(keras.ops.convert_to_numpy(model(batch, training=False)), np.float32)
        whole = _joined(values, padded.shape[1] // side) if side else values[0]
        return rounded(whole[: factor * height, : factor * width])

    return restore


def rounded(values: npt.NDArray[Any]) -> Image:
    """To u8, as an exported graph does it."""
    return np.clip(np.floor(values + 0.5), 0, 255).astype(np.uint8)


def _tiles(image: Image, side: int) -> npt.NDArray[np.uint8]:
    rows, columns = image.shape[0] // side, image.shape[1] // side
    return image.reshape(rows, side, columns, side, 3).swapaxes(1, 2).reshape(-1, side, side, 3)


def _joined(tiles: npt.NDArray[np.float32], columns: int) -> npt.NDArray[np.float32]:
    side = tiles.shape[1]
    grid = tiles.reshape(-1, columns, side, side, 3).swapaxes(1, 2)
    return grid.reshape(-1, columns * side, 3)
