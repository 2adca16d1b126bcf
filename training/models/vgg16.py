"""The convolutions of VGG-16 (Simonyan & Zisserman 2015, table 1, column D), and pretrained weights for them.

The layers are called ``encoder_block<b>_<i>``. Frames are BGR less ImageNet's mean, as in the weights' original
training, so kernels from ``keras.applications`` or from Caffe fit as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py  # type: ignore[import-untyped]
import keras
import numpy as np
import numpy.typing as npt
from keras import layers

from perception.errors import ModelError
from training.models.blocks import conv_relu

Tensor = Any
Weights = dict[str, npt.NDArray[Any]]  # "block1_conv1/kernel", "fc1/bias", ...

FULL = (64, 128, 256, 512, 512)  # channels of the five blocks
DEPTHS = (2, 2, 3, 3, 3)
_MEAN = (103.939, 116.779, 123.68)  # blue, green, red
# VGG-16's dense layers, the convolutions they become, and those kernels' shapes.
HEAD = (("fc1", "fc6_conv", (7, 7, 512, 4096)), ("fc2", "fc7_conv", (1, 1, 4096, 4096)))
IMAGENET = Path("imagenet")  # in place of a file: whatever keras.applications fetches


def normalise(frame: Tensor) -> Tensor:
    """Take ImageNet's mean from BGR values 0..255."""
    return layers.Rescaling(1.0, offset=[-value for value in _MEAN], name="encoder_normalise")(frame)


def block(x: Tensor, number: int, channels: int, *, norm: bool, dilation: int = 1) -> Tensor:
    """The two or three 3x3 convolutions of block 1..5; the pooling after it is left to the network."""
    for index in range(1, DEPTHS[number - 1] + 1):
        x = conv_relu(x, channels, 3, f"encoder_block{number}_{index}", norm=norm, dilation_rate=dilation)
    return x


def load_vgg16(model: keras.Model, path: Path) -> None:
    """Fill the ``encoder_block`` layers of ``model``, and its ``fc6``/``fc7`` where file and sizes allow.

    ``path`` is an HDF5 file in which a layer is called ``block1_conv1`` etc. (any that Keras writes of a VGG-16, or
    of a network around its layers), or ``imagenet`` for the weights of ``keras.applications``, which it downloads.
    The dense layers ``fc1`` and ``fc2`` of a whole VGG-16 become convolutions of 7x7 and 1x1.

    Raises:
        ModelError: the file is missing, unreadable or lacks a convolution, or the network is narrower than VGG-16.
    """
    found = _downloaded() if path == IMAGENET else _weights_in(path)
    missing = sorted(name for name in _names() if f"{name}/kernel" not in found or f"{name}/bias" not in found)
    if missing:
        raise ModelError(f"{path} does not hold VGG-16: it lacks {', '.join(missing)}.")
    try:
        for name in _names():
            _fill(model, f"encoder_{name.replace('_conv', '_')}_conv", found[f"{name}/kernel"], found[f"{name}/bias"])
    except ValueError as error:
        reason = str(error).partition("\n")[0].rstrip(".")
        raise ModelError(
            f"The weights in {path} do not fit this network: {reason}. VGG-16 fits the width large alone."
        ) from None
    _fill_head(model, found)


def _names() -> list[str]:
    return [f"block{b}_conv{i}" for b, depth in enumerate(DEPTHS, 1) for i in range(1, depth + 1)]


def _fill(model: keras.Model, name: str, kernel: npt.NDArray[Any], bias: npt.NDArray[Any]) -> None:
    layer = model.get_layer(name)
    layer.set_weights([kernel, bias] if layer.use_bias else [kernel])  # normalisation takes any bias out again


def _fill_head(model: keras.Model, found: Weights) -> None:
    """fc1, fc2 -> fc6, fc7 (Long et al., section 3.1), if the file has them and the network has their size."""
    for dense, ours, shape in HEAD:
        kernel = found.get(f"{dense}/kernel")
        layer = next((layer for layer in model.layers if layer.name == ours), None)
        if kernel is not None and layer is not None and tuple(layer.kernel.shape) == shape:
            _fill(model, ours, kernel.reshape(shape), found[f"{dense}/bias"])


def _downloaded() -> Weights:
    try:
        source = keras.applications.VGG16(weights="imagenet", include_top=True)
    except Exception as error:  # Keras wraps whatever the download raised
        raise ModelError(
            f"keras.applications cannot fetch VGG-16: {error}. Give a file with --encoder-weights."
        ) from None
    found: Weights = {}
    for layer in source.layers:
        if layer.weights:
            found[f"{layer.name}/kernel"], found[f"{layer.name}/bias"] = layer.get_weights()
    return found


def _weights_in(path: Path) -> Weights:
    if not path.is_file():
        raise ModelError(f"There is no weights file {path}.")
    try:
        with h5py.File(path) as file:
            reader = _Reader({}, {*_names(), "fc1", "fc2"})
            file.visititems(reader.visit)
            return reader.found
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        raise ModelError(f"{path} cannot be read as an HDF5 file of weights: {error}.") from None


@dataclass(frozen=True, slots=True)
class _Reader:
    """Collects the arrays of layers of known names; the name is a folder's, or stands in its attribute ``name``."""

    found: Weights
    wanted: set[str]

    def visit(self, path: str, item: Any) -> None:
        if not isinstance(item, h5py.Dataset):
            return
        names = [*path.split("/")[:-1], str(item.parent.attrs.get("name", ""))]
        layer = next((name for name in reversed(names) if name in self.wanted), None)
        if layer is not None and item.ndim in (1, 2, 4):
            self.found[f"{layer}/{'bias' if item.ndim == 1 else 'kernel'}"] = np.asarray(item)
