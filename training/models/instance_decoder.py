"""A second, light decoder beside that of the light U-Net, for heads that tell objects apart.

What a pixel is says little about where its object's middle is, so a head of its own reads what the trunk has
computed anyway (encoder skips, context, decoder) at strides 32 to 4, and joins it by depth-wise separable 5x5
convolutions, as Panoptic-DeepLab does (Cheng et al. 2020, section 3.1): wide, and few multiplications.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from keras import layers

from training.models.blocks import conv_relu

Tensor = Any
PREFIX = "instances"  # of the layers' names: what is not called so belongs to the trunk
_KERNEL = 5


@dataclass(frozen=True, slots=True)
class Trunk:
    """Feature maps of the trunk: the encoder's at strides 4, 8 and 16, the context at 32, the decoder's at 2 to 16."""

    skips: dict[int, Tensor]  # by stride
    context: Tensor
    decoded: dict[int, Tensor]  # by stride


def instance_decoder(trunk: Trunk, channels: dict[int, int]) -> Tensor:
    """Features (B, H/4, W/4, channels[4]) from a frame of (H, W); ``channels`` by stride, 16, 8 and 4."""
    x = conv_relu(trunk.context, channels[16], 1, f"{PREFIX}32_reduce")
    for stride in (16, 8, 4):
        width = channels[stride]
        side = layers.Concatenate(name=f"{PREFIX}{stride}_side")([trunk.skips[stride], trunk.decoded[stride]])
        side = conv_relu(side, width if stride == 16 else width // 2, 1, f"{PREFIX}{stride}_side")
        x = join(x, side, width, f"{PREFIX}{stride}")
    return x


def join(x: Tensor, side: Tensor, channels: int, name: str) -> Tensor:
    """The coarser map, up-sampled, beside the finer one, through a separable convolution."""
    if x.shape[-1] > channels:
        x = conv_relu(x, channels, 1, f"{name}_reduce")
    x = layers.UpSampling2D(2, interpolation="nearest", name=f"{name}_up")(x)
    x = layers.Concatenate(name=f"{name}_join")([x, side])
    return separable(x, channels, f"{name}_fuse")


def separable(x: Tensor, channels: int, name: str) -> Tensor:
    """Depth-wise 5x5 and point-wise convolution, each with batch normalisation and ReLU."""
    x = layers.DepthwiseConv2D(_KERNEL, padding="same", use_bias=False, name=f"{name}_depthwise_conv")(x)
    x = layers.BatchNormalization(momentum=0.99, epsilon=1e-3, name=f"{name}_depthwise_bn")(x)
    x = layers.ReLU(name=f"{name}_depthwise_relu")(x)
    return conv_relu(x, channels, 1, name)
