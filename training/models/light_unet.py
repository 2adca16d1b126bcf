"""The light U-Net: the project's real-time network.

A U-Net (Ronneberger, Fischer, Brox 2015) on a pretrained EfficientNet-Lite encoder: concatenating
skips at strides 16, 8, 4 and 2, plain 3x3 convolutions after nearest up-sampling (no checkerboards,
fast in every engine), and average pooling at several strides for context (after PSPNet, Zhao 2017).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
from keras import layers

from training.data.taxonomy import CLASSES
from training.models.blocks import conv_relu, score
from training.models.boundary_head import boundary_head
from training.models.centre_head import centre_head
from training.models.efficientnet_lite import efficientnet_lite
from training.models.instance_decoder import Trunk
from training.models.names import Head
from training.settings import Width

Tensor = Any


@dataclass(frozen=True, slots=True)
class LightUNetWidths:
    """Channels of the context and of the decoder at strides 16, 8, 4 and 2."""

    context: int
    decoder: tuple[int, int, int, int]


SMALL = LightUNetWidths(96, (80, 48, 32, 16))
MEDIUM = LightUNetWidths(128, (96, 64, 48, 24))
LARGE = LightUNetWidths(160, (128, 96, 64, 32))
_STRIDES = (16, 8, 4, 2)
WIDTHS: dict[Width, LightUNetWidths] = {"small": SMALL, "medium": MEDIUM, "large": LARGE}


def light_unet(
    widths: LightUNetWidths = MEDIUM,
    encoder: str = "lite0",
    *,
    classes: int = CLASSES,
    auxiliary: bool = False,
    head: Head | None = None,
) -> keras.Model:
    """BGR frames (B, H, W, 3) u8, sides in multiples of 32, to logits (B, H/2, W/2, classes) f32.

    With ``auxiliary`` there is a second output, logits at stride 8, for a loss during training. With ``head`` there
    are its outputs, called as in ``training.models.centre_head`` or ``boundary_head``, after the logits.
    """
    frame = keras.Input((None, None, 3), dtype="uint8", name="frame")
    *skips, deepest = efficientnet_lite(frame, encoder)
    x = _context(deepest, widths.context)
    context, decoded = x, {}
    for skip, channels, stride in zip(reversed(skips), widths.decoder, _STRIDES):
        x = decoded[stride] = _up(x, skip, channels, f"decoder{stride}")
    outputs = [score(x, classes, "logits")]
    if auxiliary:
        outputs.append(score(decoded[8], classes, "auxiliary"))
    if head is not None:
        trunk = Trunk(dict(zip((2, 4, 8, 16, 32), [*skips, deepest])), decoded, context)
        outputs += (centre_head(trunk) if head == "centre" else boundary_head(trunk)).values()
    return keras.Model(frame, outputs if len(outputs) > 1 else outputs[0], name="light_unet")


def _context(x: Tensor, channels: int) -> Tensor:
    """The deepest map, summed with its averages over ever larger areas (up to the whole frame).

    The windows slide by one pixel: at stride 32 maps are small, and nothing has to be resized back.
    """
    parts = [conv_relu(x, channels, 1, "context1")]
    for window in (5, 11):
        pooled = layers.AveragePooling2D(window, 1, padding="same", name=f"context_pool{window}")(x)
        parts.append(conv_relu(pooled, channels, 1, f"context{window}"))
    everywhere = layers.GlobalAveragePooling2D(keepdims=True, name="context_pool_all")(x)
    parts.append(layers.Conv2D(channels, 1, activation="relu", name="context_all")(everywhere))
    return layers.Add(name="context_add")(parts)


def _up(x: Tensor, skip: Tensor, channels: int, name: str) -> Tensor:
    """Halve the channels' cost first, then up-sample, join the skip and fuse by a 3x3 convolution."""
    x = conv_relu(x, channels, 1, f"{name}_reduce")
    x = layers.UpSampling2D(2, interpolation="nearest", name=f"{name}_up")(x)
    x = layers.Concatenate(name=f"{name}_join")([x, skip])
    return conv_relu(x, channels, 3, f"{name}_fuse")
