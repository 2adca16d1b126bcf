"""Networks that give a better picture back: a small U-Net for noise, the light U-Net for little light, a sub-pixel net
for detail.

These correct the frame rather than draw it anew (Zhang et al. 2017, "Beyond a Gaussian Denoiser", section III-B), so
that a network that has learnt nothing yet changes nothing. All networks take u8 BGR frames (B, H, W, 3) and give f32
BGR (B, factor H, factor W, 3) within 0..255.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import layers

from training.models import vgg16
from training.models.autoencoder import conv_autoencoder, dense_autoencoder
from training.models.blocks import conv_relu
from training.models.fcn import fcn
from training.models.light_unet import LARGE, LightUNetWidths, light_unet
from training.models.subpixel import PixelShuffle, PixelUnshuffle
from training.restoration.names import Network, Up

Tensor = Any

_CORRECTION = 64.0  # grey levels that an output of 1 stands for
_SLIM = (16, 32, 64, 128, 128)  # channels of an FCN-8s that is trained from scratch


def build_restorer(name: Network, *, latent: int = 64, up: Up = "resize", patch: int = 32) -> keras.Model:
    """A network by name; ``latent`` and ``up`` belong to the autoencoders, ``patch`` to the dense one.

    ``fcn8s`` is the segmentation network with three outputs instead of class scores. For super-resolution it
    gets a frame that was enlarged already.
    """
    match name:
        case "denoise":
            return restoration_unet((48, 64, 96))
        case "lowlight":
            return light_unet_picture()
        case "subpixel":
            return subpixel_net()
        case "fcn8s":
            return fcn_picture()
        case "conv":
            return conv_autoencoder(latent, up=up)
        case "dense":
            return dense_autoencoder(patch, latent)


def restoration_unet(channels: tuple[int, ...]) -> keras.Model:
    """A U-Net that begins at half of the frame's size, with one level for each of ``channels``; ``n`` of them want
    sides in multiples of 2^n.

    The frame enters and leaves as 12 channels at half its size (as in FFDNet, Zhang et al. 2018, section III-A): the
    costly full size holds no convolution. The last two convolutions see those 12 again: what stays as it is need not
    be carried through all the others.
    """
    frame = keras.Input((None, None, 3), dtype="uint8", name="frame")
    pixels = x = _pixels(frame)
    skips = []
    for level, width in enumerate(channels):
        x = conv_relu(x, width, 3, f"level{level}_0", strides=2 if level else 1)
        skips.append(x := conv_relu(x, width, 3, f"level{level}_1"))
    x = conv_relu(x, channels[-1], 3, "bottom")
    for level in reversed(range(len(channels) - 1)):
        x = layers.Conv2D(4 * channels[level], 1, name=f"up{level}")(x)
        x = layers.Add(name=f"join{level}")([PixelShuffle(2, name=f"shuffle{level}")(x), skips[level]])
        x = conv_relu(x, channels[level], 3, f"rise{level}")
    x = conv_relu(layers.Concatenate(name="pixels_again")([x, pixels]), channels[0], 3, "closing")
    x = layers.Concatenate(name="pixels_at_last")([x, pixels])
    return _corrected(frame, _values(frame), x, factor=2, name="restoration_unet")


def light_unet_picture(widths: LightUNetWidths = LARGE, closing: tuple[int, ...] = (48, 32)) -> keras.Model:
    """The light U-Net (``training.models.light_unet``), all of it but the class scores, that corrects the frame; sides
    in multiples of 32.

    In little light it takes knowledge of streets to tell a car from noise. A segmentation network has it: its weights
    are what to start from. Its features, at half the frame's size, meet the frame's own pixels in convolutions of
    ``closing`` channels.
    """
    trunk = light_unet(widths)
    frame, x = trunk.inputs[0], trunk.get_layer("logits").input
    pixels = _pixels(frame)
    for index, width in enumerate(closing):
        x = layers.Concatenate(name=f"pixels{index}")([x, pixels])
        x = conv_relu(x, width, 3, f"closing{index}", norm=False)
    x = layers.Concatenate(name="pixels_at_last")([x, pixels])
    return _corrected(frame, _values(frame), x, factor=2, name="light_unet_picture")


def subpixel_net(channels: int = 32, narrow: int = 16, depth: int = 5, *, factor: int = 2) -> keras.Model:
    """Frames enlarged by ``factor``: all convolutions at the frame's own size, then a shuffle (Shi et al. 2016).

    Between a wide beginning and a wide end the convolutions are narrow, as in FSRCNN (Dong et al. 2016, section 3), and
    each adds to what came before. The result corrects the bilinear enlargement.
    """
    frame = keras.Input((None, None, 3), dtype="uint8", name="frame")
    x = layers.Rescaling(1 / 128, offset=-1.0, name="normalise")(frame)
    wide = x = layers.Conv2D(channels, 5, padding="same", activation="relu", name="look")(x)
    x = layers.Conv2D(narrow, 1, activation="relu", name="shrink")(x)
    for index in range(depth):
        x = layers.Add(name=f"add{index}")([conv_relu(x, narrow, 3, f"map{index}", norm=False), x])
    x = layers.Add(name="expanded")([layers.Conv2D(channels, 1, name="expand")(x), wide])
    large = layers.UpSampling2D(factor, interpolation="bilinear", dtype="float32", name="enlarged")(_values(frame))
    return _corrected(frame, large, x, factor=factor, name="subpixel_net")


def fcn_picture(channels: tuple[int, int, int, int, int] = _SLIM, *, head: int = 128) -> keras.Model:
    """FCN-8s (``training.models.fcn``) that gives blue, green and red in place of class scores, without any skip
    from the frame itself: what it draws comes through stride 8."""
    network = fcn(8, channels=channels, head=head, norm=channels != vgg16.FULL, dropout=0.0, classes=3)
    values = layers.Rescaling(_CORRECTION, offset=127.5, name="values")(network.outputs[0])
    return keras.Model(network.inputs[0], _within(values), name="fcn8s_picture")


def _pixels(frame: Tensor) -> Tensor:
    """The frame (B, H, W, 3) about 0 as (B, H/2, W/2, 12)."""
    scaled = layers.Rescaling(1 / 128, offset=-1.0, name="scaled")(frame)
    return PixelUnshuffle(2, name="unshuffle")(scaled)


def _corrected(frame: Tensor, start: Tensor, x: Tensor, *, factor: int, name: str) -> keras.Model:
    """``start`` plus what ``x``, at a ``factor``-th of its size, says must change; at first nothing."""
    almost_zero = keras.initializers.RandomNormal(stddev=1e-3)
    x = layers.Conv2D(3 * factor**2, 3, padding="same", kernel_initializer=almost_zero, name="last")(x)
    change = layers.Rescaling(_CORRECTION, dtype="float32", name="change")(PixelShuffle(factor, name="shuffle")(x))
    return keras.Model(frame, _within(layers.Add(dtype="float32", name="corrected")([start, change])), name=name)


def _within(values: Tensor) -> Tensor:
    return layers.ReLU(max_value=255.0, dtype="float32", name="picture")(values)


def _values(frame: Tensor) -> Tensor:
    """The frame as f32, whatever the precision of the rest."""
    return layers.Rescaling(1.0, dtype="float32", name="values")(frame)
