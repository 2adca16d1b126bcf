"""U-Net (Ronneberger, Fischer, Brox 2015, "U-Net: Convolutional Networks for Biomedical Image Segmentation").

The way down: pairs of 3x3 convolutions and pooling, twice the channels at each step. The way up: up-sampling that
halves them, the map of the same size from the way down beside it, a pair of convolutions.
"""

from __future__ import annotations

from typing import Any, Literal

import keras
from keras import layers

from training.data.taxonomy import CLASSES
from training.models.arithmetic import convolved_size, transposed_size
from training.models.blocks import SavedDropout, conv_relu, score

Tensor = Any
Padding = Literal["same", "valid"]

_AUXILIARY_STRIDE = 8


def unet(
    width: int = 64,
    depth: int = 4,
    *,
    padding: Padding = "same",
    up: Literal["transposed", "nearest"] = "transposed",
    norm: bool = True,
    dropout: float = 0.0,
    classes: int = CLASSES,
    auxiliary: bool = False,
) -> keras.Model:
    """BGR frames (B, H, W, 3) u8, sides in multiples of 2^depth, to logits (B, H, W, classes) f32.

    ``width`` channels at full size, 2^depth times as many at the bottom. ``padding`` "valid" is the paper's: no
    border is invented, skips are cropped to fit, and logits cover the middle of the frame (``valid_output_size``).
    ``up`` is the paper's 2x2 transposed convolution, or repeating pixels and a 2x2 convolution, which leaves no
    checkerboards. ``norm`` adds batch normalisation, which the paper does not have; ``dropout`` acts at the bottom.
    With ``auxiliary`` there is a second output, logits of the way up at stride 8 (or of its deepest step), for a
    loss during training.
    """
    frame = keras.Input((None, None, 3), dtype="uint8", name="frame")
    x = layers.Rescaling(1 / 128, offset=-127 / 128, name="normalise")(frame)
    skips = []
    for level in range(depth):
        x = _pair(x, width << level, f"down{level}", padding, norm=norm)  # (B, H/2^level, W/2^level, width 2^level)
        skips.append(x)
        x = layers.MaxPooling2D(2, name=f"pool{level}")(x)
    x = _pair(x, width << depth, "bottom", padding, norm=norm)
    x = SavedDropout(dropout, name="bottom_drop")(x)
    auxiliary_logits = None
    for level in reversed(range(depth)):
        x = _up(x, width << level, f"up{level}", up)
        skip = skips[level]
        if padding == "valid":
            skip = layers.Cropping2D(_margin(level, depth), name=f"crop{level}")(skip)
        x = layers.Concatenate(name=f"join{level}")([skip, x])
        x = _pair(x, width << level, f"up{level}", padding, norm=norm)
        if auxiliary and 2**level == min(_AUXILIARY_STRIDE, 2 ** (depth - 1)):
            auxiliary_logits = score(x, classes, "auxiliary")
    logits = score(x, classes, "logits")
    return keras.Model(frame, [logits, auxiliary_logits] if auxiliary else logits, name="unet")


def _pair(x: Tensor, channels: int, name: str, padding: Padding, *, norm: bool) -> Tensor:
    for index in (1, 2):
        x = conv_relu(x, channels, 3, f"{name}_{index}", norm=norm, padding=padding)
    return x


def _up(x: Tensor, channels: int, name: str, up: str) -> Tensor:
    if up == "transposed":
        return layers.Conv2DTranspose(channels, 2, 2, name=f"{name}_transposed")(x)
    x = layers.UpSampling2D(2, interpolation="nearest", name=f"{name}_nearest")(x)
    return layers.Conv2D(channels, 2, padding="same", name=f"{name}_conv")(x)


def valid_output_size(size: int, depth: int = 4) -> int:
    """Pixels of logits along an axis of ``size``, with "valid" padding: 572 gives 388 in the paper (figure 1).

    Raises:
        ValueError: a map on the way down has an odd size, or nothing is left of it.
    """
    pair = 2 * (3 - 1)  # two 3x3 convolutions
    for level in range(depth):
        size -= pair
        if size % 2 or size <= 0:
            raise ValueError(f"a valid U-Net of depth {depth} pools a map of {size} pixels at step {level + 1}")
        size = convolved_size(size, 2, 2)
    size = convolved_size(convolved_size(size, 3), 3)
    for _ in range(depth):
        size = transposed_size(size, 2, 2)
        size = convolved_size(convolved_size(size, 3), 3)
    return size


def _margin(level: int, depth: int) -> int:
    """Pixels to crop from each side of the skip at ``level``: what "valid" convolutions below it took.

    The bottom pair takes 2, which are 4 of the next finer pixels; a level between takes 2 on its way down and 2
    on its way up besides what was taken below it, and all of that doubles at the next finer level.
    """
    margin = 4
    for _ in range(depth - 1 - level):
        margin = 2 * (margin + 4)
    return margin
