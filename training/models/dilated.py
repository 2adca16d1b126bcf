"""Dilated convolutions: VGG-16 that stays at stride 8, and a context module.

The front end is DeepLab's (Chen et al. 2015, "Semantic Image Segmentation with Deep Convolutional Nets and Fully
Connected CRFs": no pooling after blocks 4 and 5, dilation 2 in block 5, a 3x3 fc6 of dilation 12); the context
module is the basic one of Yu & Koltun 2016, "Multi-Scale Context Aggregation by Dilated Convolutions" (table 1).
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import layers, ops

from training.data.taxonomy import CLASSES
from training.models import vgg16
from training.models.arithmetic import receptive_field
from training.models.blocks import SavedDropout, conv_relu, score, up_score

Tensor = Any

_FC6_DILATION = 12
_CONTEXT = (1, 1, 2, 4, 8, 16, 1)  # dilations of the context module's 3x3 convolutions
_STRIDE = 8


def dilated(
    channels: tuple[int, int, int, int, int] = vgg16.FULL,
    *,
    head: int = 1024,
    norm: bool = False,
    dropout: float = 0.5,
    classes: int = CLASSES,
    auxiliary: bool = False,
) -> keras.Model:
    """BGR frames (B, H, W, 3) u8, sides in multiples of 8, to logits (B, H/2, W/2, classes) f32.

    ``channels`` are those of the five blocks, ``head`` those of fc6 and fc7. Scores are made at stride 8, passed
    through the context module, which starts as the identity, and up-sampled by four. ``norm`` adds batch
    normalisation, for training from scratch. With ``auxiliary`` there is a second output, the front end's own
    logits at stride 8, for a loss during training.
    """
    frame = keras.Input((None, None, 3), dtype="uint8", name="frame")
    x = vgg16.normalise(frame)
    for number, width in enumerate(channels, 1):
        x = vgg16.block(x, number, width, norm=norm, dilation=2 if number == 5 else 1)
        if 2**number <= _STRIDE:
            x = layers.MaxPooling2D(2, name=f"encoder_pool{number}")(x)
    x = conv_relu(x, head, 3, "fc6", norm=norm, dilation_rate=_FC6_DILATION)  # (B, H/8, W/8, head)
    x = SavedDropout(dropout, name="fc6_drop")(x)
    x = SavedDropout(dropout, name="fc7_drop")(conv_relu(x, head, 1, "fc7", norm=norm))
    front = score(x, classes, "front")
    logits = up_score(_context(front, classes), 4, "logits")
    return keras.Model(frame, [logits, front] if auxiliary else logits, name="dilated")


def _context(x: Tensor, classes: int) -> Tensor:
    """Seven 3x3 convolutions of growing dilation and one of 1x1 on the class scores, all in f32."""
    for index, dilation in enumerate(_CONTEXT, 1):
        x = layers.Conv2D(
            classes,
            3,
            padding="same",
            dilation_rate=dilation,
            activation="relu",
            kernel_initializer=CentreIdentity(),
            dtype="float32",
            name=f"context{index}",
        )(x)
    return layers.Conv2D(classes, 1, kernel_initializer=CentreIdentity(), dtype="float32", name="context8")(x)


def context_field() -> int:
    """Pixels of the score map, along one axis, that one output of the context module sees: 67 in the paper."""
    return receptive_field([(3, 1, dilation) for dilation in _CONTEXT])[0]


@keras.saving.register_keras_serializable("roadcast")
class CentreIdentity(keras.initializers.Initializer):  # type: ignore[misc]  # keras is untyped
    """Kernel (k, k, C, C), k odd, that passes each channel on (Yu & Koltun 2016, equation 4)."""

    def __call__(self, shape: tuple[int, ...], dtype: Any = None) -> Tensor:
        """The kernel; raises ValueError unless k is odd and the channels are as many as before."""
        height, width, inputs, outputs = shape
        if not height % 2 or not width % 2 or inputs != outputs:
            raise ValueError(f"an identity kernel is (odd, odd, C, C), got {shape}")
        kernel = np.zeros(shape, np.float32)
        kernel[height // 2, width // 2] = np.eye(inputs)
        return ops.convert_to_tensor(kernel, dtype=dtype or "float32")
