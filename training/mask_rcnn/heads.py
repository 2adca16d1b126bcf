"""The trainable parts: a feature pyramid on the light U-Net, the proposal network, the box head and the mask head."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers

from training.mask_rcnn.settings import BOX_BINS, MASK_BINS, RATIOS, THINGS
from training.models.blocks import conv_relu
from training.models.light_unet import LightUNetWidths, light_unet

Tensor = Any
CHANNELS = 64  # of the pyramid and the mask head; the paper's 256 are for a ResNet that learns with it
HIDDEN = 256  # of the box head
PREFIX = "pyramid"  # of what is new in the trunk's model
FINE_STRIDES = (16, 8, 4)


def pyramid(widths: LightUNetWidths, encoder: str) -> keras.Model:
    """BGR frames (B, H, W, 3) u8 to logits (B, H/2, W/2, 19) and features (B, h, w, CHANNELS) at ``STRIDES``.

    Lin et al. 2017, section 3, on what the light U-Net computes anyway: at each stride the encoder's features beside
    the decoder's, which know the class of every pixel. The deepest level is a sub-sampling of the one before.
    """
    unet = light_unet(widths, encoder)
    context = unet.get_layer("context_add").output
    deepest = layers.Concatenate(name=f"{PREFIX}32_join")([unet.get_layer("context1_conv").input, context])
    x = layers.Conv2D(CHANNELS, 1, name=f"{PREFIX}32_lateral")(deepest)
    merged = [x]
    for stride in FINE_STRIDES:
        skip = unet.get_layer(f"decoder{stride}_join").input[1]
        decoded = unet.get_layer(f"decoder{stride}_fuse_relu").output
        side = layers.Concatenate(name=f"{PREFIX}{stride}_join")([skip, decoded])
        side = layers.Conv2D(CHANNELS, 1, name=f"{PREFIX}{stride}_lateral")(side)
        x = layers.UpSampling2D(2, interpolation="nearest", name=f"{PREFIX}{stride}_up")(x)
        x = layers.Add(name=f"{PREFIX}{stride}_add")([x, side])
        merged.append(x)
    coarse_first = [
        layers.Conv2D(CHANNELS, 3, padding="same", name=f"{PREFIX}{stride}_smooth")(one)
        for stride, one in zip((32, *FINE_STRIDES), merged)
    ]
    last = layers.MaxPooling2D(1, 2, name=f"{PREFIX}64_pool")(coarse_first[0])
    return keras.Model(unet.inputs, [unet.outputs[0], *reversed(coarse_first), last], name="pyramid")


def proposal_network() -> keras.Model:
    """One level (B, h, w, CHANNELS) to logits (B, h, w, R) of its anchors, and their codes (B, h, w, 4 R)."""
    features = keras.Input((None, None, CHANNELS), name="rpn_features")
    x = layers.Conv2D(CHANNELS, 3, padding="same", activation="relu", name="rpn_conv", **_small(0.01))(features)
    logits = layers.Conv2D(len(RATIOS), 1, name="rpn_objectness", dtype="float32", **_small(0.01))(x)
    codes = layers.Conv2D(4 * len(RATIOS), 1, name="rpn_codes", dtype="float32", **_small(0.01))(x)
    return keras.Model(features, [logits, codes], name="rpn")


def box_head() -> keras.Model:
    """Features of boxes (M, 7, 7, CHANNELS) to logits (M, 1, 1, 1 + classes) and codes (M, 1, 1, 4) of all classes.

    Two layers that see the whole box, as in Lin et al. 2017, section 4.2, written as convolutions.
    """
    features = keras.Input((BOX_BINS, BOX_BINS, CHANNELS), name="box_features")
    x = conv_relu(features, HIDDEN, BOX_BINS, "box_first", norm=False, padding="valid")
    x = conv_relu(x, HIDDEN, 1, "box_second", norm=False)
    logits = layers.Conv2D(1 + THINGS, 1, name="box_classes", dtype="float32", **_small(0.01))(x)
    codes = layers.Conv2D(4, 1, name="box_codes", dtype="float32", **_small(0.001))(x)
    return keras.Model(features, [logits, codes], name="box_head")


def mask_head() -> keras.Model:
    """Features of boxes (M, 14, 14, CHANNELS) to the logits of one mask for each class, (M, 28, 28, classes).

    He et al. 2017, figure 4 on the right, with three convolutions instead of four.
    """
    features = keras.Input((MASK_BINS, MASK_BINS, CHANNELS), name="mask_features")
    x = features
    for number in range(3):
        x = conv_relu(x, CHANNELS, 3, f"mask{number}", norm=False)
    x = layers.Conv2DTranspose(CHANNELS, 2, 2, activation="relu", kernel_initializer="he_normal", name="mask_up")(x)
    logits = layers.Conv2D(THINGS, 1, name="mask_logits", dtype="float32", **_small(0.001))(x)
    return keras.Model(features, logits, name="mask_head")


def _small(spread: float) -> dict[str, Any]:
    return {"kernel_initializer": keras.initializers.RandomNormal(stddev=spread)}
