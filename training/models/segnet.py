"""SegNet (Badrinarayanan, Kendall, Cipolla 2017): an encoder of VGG-16's convolutions and its mirror image.

The decoder gets no features from the encoder, only the places of its maxima: unpooling puts values back there
and convolutions fill the gaps. (The deconvolution network of Noh, Hong, Han 2015 unpools in the same way.)
"""

from __future__ import annotations

from typing import Any

import keras

from training.data.taxonomy import CLASSES
from training.models import vgg16
from training.models.blocks import conv_relu, score
from training.models.unpooling import MaxPoolWithPlace, MaxUnpool

Tensor = Any

_AUXILIARY_LEVEL = 4  # the decoder block that works at stride 8


def segnet(
    channels: tuple[int, int, int, int, int] = vgg16.FULL, *, classes: int = CLASSES, auxiliary: bool = False
) -> keras.Model:
    """BGR frames (B, H, W, 3) u8, sides in multiples of 32, to logits (B, H, W, classes) f32.

    ``channels`` are those of the five blocks. Every convolution is followed by batch normalisation, as in the
    paper. With ``auxiliary`` there is a second output, logits at stride 8, for a loss during training.
    """
    frame = keras.Input((None, None, 3), dtype="uint8", name="frame")
    x = vgg16.normalise(frame)
    places = []
    for number, width in enumerate(channels, 1):
        x = vgg16.block(x, number, width, norm=True)
        x, place = MaxPoolWithPlace(name=f"encoder_pool{number}")(x)
        places.append(place)
    auxiliary_logits = None
    for number in range(len(channels), 0, -1):
        x = MaxUnpool(name=f"unpool{number}")([x, places[number - 1]])
        x = _mirrored(x, number, channels)  # (B, H/2^(number-1), W/2^(number-1), channels of the block before)
        if auxiliary and number == _AUXILIARY_LEVEL:
            auxiliary_logits = score(x, classes, "auxiliary")
    logits = score(x, classes, "logits")
    return keras.Model(frame, [logits, auxiliary_logits] if auxiliary else logits, name="segnet")


def _mirrored(x: Tensor, number: int, channels: tuple[int, ...]) -> Tensor:
    """The convolutions of a block in reverse: the last one goes to the width that the block started from."""
    depth = vgg16.DEPTHS[number - 1] - (number == 1)  # the very last convolution is the class score
    for index in range(depth, 0, -1):
        last = index == 1 and number > 1
        x = conv_relu(x, channels[number - 2 if last else number - 1], 3, f"decoder{number}_{index}")
    return x
