"""A second, light decoder beside that of the light U-Net, for heads that tell objects apart.

What a pixel is says little about where its object's middle is, so a head of its own reads what the trunk has
computed anyway (encoder skips, context, decoder) at strides 32 to 4, and joins it by depth-wise separable
convolutions, most of them 5x5, as Panoptic-DeepLab does (Cheng et al. 2020, section 3.1): wide, and few
multiplications.
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
    """Feature maps of the trunk, by stride: the encoder's at 4 to 32, the decoder's at 2 to 16; the context at 32."""

    encoded: dict[int, Tensor]
    decoded: dict[int, Tensor]
    context: Tensor


@dataclass(frozen=True, slots=True)
class DecoderWidths:
    """Channels of the decoder at strides 32, 16, 8 and 4, of what it takes from the trunk at 16, 8 and 4."""

    deep: int = 128
    decoder: tuple[int, int, int] = (128, 96, 48)
    side: tuple[int, int, int] = (96, 48, 24)
    finest_kernel: int = _KERNEL  # of the depth-wise convolutions at stride 4, where each costs the most


def instance_decoder(trunk: Trunk, widths: DecoderWidths) -> Tensor:
    """Features (B, H/4, W/4, C) from a frame of (H, W).

    Where maps are coarse a second convolution costs next to nothing and looks 64 pixels farther.
    """
    x = layers.Concatenate(name=f"{PREFIX}32_join")([trunk.encoded[32], trunk.context])
    x = conv_relu(x, widths.deep, 1, f"{PREFIX}32_reduce")
    x = separable(x, widths.deep, f"{PREFIX}32_fuse")
    for stride, channels, beside in zip((16, 8, 4), widths.decoder, widths.side):
        side = layers.Concatenate(name=f"{PREFIX}{stride}_trunk")([trunk.encoded[stride], trunk.decoded[stride]])
        side = conv_relu(side, beside, 1, f"{PREFIX}{stride}_side")
        kernel = widths.finest_kernel if stride == 4 else _KERNEL
        x = join(x, side, channels, f"{PREFIX}{stride}", kernel=kernel)
        if stride > 4:
            x = separable(x, channels, f"{PREFIX}{stride}_more")
    return x


def join(x: Tensor, side: Tensor, channels: int, name: str, *, kernel: int = _KERNEL) -> Tensor:
    """The coarser map, up-sampled, beside the finer one, through a separable convolution."""
    if x.shape[-1] > channels:
        x = conv_relu(x, channels, 1, f"{name}_reduce")
    x = layers.UpSampling2D(2, interpolation="nearest", name=f"{name}_up")(x)
    x = layers.Concatenate(name=f"{name}_join")([x, side])
    return separable(x, channels, f"{name}_fuse", kernel=kernel)


def separable(x: Tensor, channels: int, name: str, *, kernel: int = _KERNEL) -> Tensor:
    """Depth-wise and point-wise convolution, each with batch normalisation and ReLU."""
    x = layers.DepthwiseConv2D(kernel, padding="same", use_bias=False, name=f"{name}_depthwise_conv")(x)
    x = layers.BatchNormalization(momentum=0.99, epsilon=1e-3, name=f"{name}_depthwise_bn")(x)
    x = layers.ReLU(name=f"{name}_depthwise_relu")(x)
    return conv_relu(x, channels, 1, name)
