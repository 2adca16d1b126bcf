"""FCN-32s, FCN-16s, FCN-8s (Long, Shelhamer, Darrell 2015, "Fully Convolutional Networks for Semantic Segmentation").

VGG-16 whose dense layers are convolutions, class scores at stride 32, and up to two skips: scores of pool4 and
pool3 are added to the scores from below, up-sampled by two. All up-sampling is transposed convolution that starts
bilinear and learns.
"""

from __future__ import annotations

from typing import Any, Literal

import keras
from keras import layers

from training.data.taxonomy import CLASSES
from training.models import vgg16
from training.models.blocks import CropLike, SavedDropout, conv_relu, score, up_score

Tensor = Any


def fcn(
    stride: Literal[8, 16, 32] = 8,
    *,
    channels: tuple[int, int, int, int, int] = vgg16.FULL,
    head: int = 4096,
    norm: bool = False,
    dropout: float = 0.5,
    classes: int = CLASSES,
    auxiliary: bool = False,
) -> keras.Model:
    """BGR frames (B, H, W, 3) u8 of any size to logits (B, H, W, classes) f32.

    ``channels`` are those of VGG-16's five blocks, ``head`` those of fc6 and fc7, ``stride`` that of the finest
    scores. Convolutions are padded by half their kernel, where the paper pads the frame by 100. All scores start at
    zero (section 4.3), so a finer network that is given a coarser one's weights begins with its answers.
    ``norm`` adds batch normalisation, for training from scratch; the paper has none. With ``auxiliary`` there is a
    second output, logits at stride 16, for a loss during training.
    """
    frame = keras.Input((None, None, 3), dtype="uint8", name="frame")
    x = vgg16.normalise(frame)
    pools: dict[int, Tensor] = {}
    for number, width in enumerate(channels, 1):
        x = vgg16.block(x, number, width, norm=norm)
        x = layers.MaxPooling2D(2, padding="same", name=f"encoder_pool{number}")(x)  # odd sizes round up
        pools[2**number] = x
    x = SavedDropout(dropout, name="fc6_drop")(conv_relu(x, head, 7, "fc6", norm=norm))
    x = SavedDropout(dropout, name="fc7_drop")(conv_relu(x, head, 1, "fc7", norm=norm))
    x = score(x, classes, "score32", start="zeros")  # (B, H/32, W/32, classes)
    for finer in (16, 8):
        if finer < stride:
            break
        skip = score(pools[finer], classes, f"score{finer}", start="zeros")
        x = CropLike(name=f"crop{finer}")([up_score(x, 2, f"up{finer}"), skip])
        x = layers.Add(name=f"fuse{finer}")([x, skip])  # (B, H/finer, W/finer, classes)
    logits = CropLike(name="logits")([up_score(x, stride, f"up_from{stride}"), frame])
    outputs = [logits, score(pools[16], classes, "auxiliary")] if auxiliary else logits
    return keras.Model(frame, outputs, name=f"fcn{stride}s")
