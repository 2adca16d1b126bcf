"""A network by name and width: the one place where a name becomes a model."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import keras

from perception.errors import ModelError
from training.data.taxonomy import CLASSES
from training.models import vgg16
from training.models.dilated import dilated
from training.models.efficientnet_lite import load_imagenet
from training.models.fcn import fcn
from training.models.light_unet import WIDTHS, light_unet
from training.models.names import Head, Network
from training.models.segnet import segnet
from training.models.unet import unet
from training.settings import Width

# Channels of VGG-16's blocks, of fc6 and fc7 in FCN, and of U-Net at full size. Large is the published size; small
# gives files of 2 to 8 MB.
_TRUNKS = {"small": (16, 32, 64, 128, 128), "medium": (32, 64, 128, 256, 256), "large": vgg16.FULL}
_HEADS = {"small": 256, "medium": 1024, "large": 4096}
_UNETS = {"small": 16, "medium": 32, "large": 64}


def build_network(
    name: Network,
    *,
    width: Width = "large",
    encoder: str = "lite0",
    classes: int = CLASSES,
    auxiliary: bool = False,
    head: Head | None = None,
) -> keras.Model:
    """BGR frames (B, H, W, 3) u8, sides in multiples of 32, to logits (B, h, w, classes) f32.

    h, w are H, W, for ``light`` and ``dilated`` half of them. ``width`` large is the published size, and the VGG-16
    networks are then without batch normalisation, made to start from pretrained convolutions; small and medium
    have it, made to train from scratch. ``encoder`` is a variant of EfficientNet-Lite and matters to ``light`` alone.
    With ``auxiliary`` there is a second output, coarser logits for a loss during training; a model without it has
    the same layers and names but for that output's. ``head`` adds what tells objects apart to ``light``.

    Raises:
        ModelError: there is no such network, width or encoder, or the network takes no head.
    """
    if head is not None and name != "light":
        raise ModelError(f"The head {head!r} stands on the network light; {name} takes none.")
    if width not in WIDTHS:
        raise ModelError(f"There is no width {width!r}; there are {', '.join(WIDTHS)}.")
    trunk, hidden, norm = _TRUNKS[width], _HEADS[width], width != "large"
    match name:
        case "light":
            return light_unet(WIDTHS[width], encoder, classes=classes, auxiliary=auxiliary, head=head)
        case "fcn32s":
            return fcn(32, channels=trunk, head=hidden, norm=norm, classes=classes, auxiliary=auxiliary)
        case "fcn16s":
            return fcn(16, channels=trunk, head=hidden, norm=norm, classes=classes, auxiliary=auxiliary)
        case "fcn8s":
            return fcn(8, channels=trunk, head=hidden, norm=norm, classes=classes, auxiliary=auxiliary)
        case "unet":
            return unet(_UNETS[width], classes=classes, auxiliary=auxiliary)
        case "segnet":
            return segnet(trunk, classes=classes, auxiliary=auxiliary)
        case "dilated":
            return dilated(trunk, head=hidden // 4, norm=norm, classes=classes, auxiliary=auxiliary)
        case _:
            raise ModelError(f"There is no network {name!r}; there are {', '.join(get_args(Network))}.")


def load_encoder(model: keras.Model, name: Network, weights: Path, *, encoder: str = "lite0") -> None:
    """Fill the pretrained part of a network that ``build_network`` made with this name and encoder.

    ``weights`` is a PyTorch state dict for ``light``, an HDF5 file or the word ``imagenet`` for those on VGG-16.

    Raises:
        ModelError: the file is missing, unreadable or does not fit, or the network has no pretrained encoder.
    """
    match name:
        case "light":
            load_imagenet(model, weights, encoder)
        case "unet":
            raise ModelError("There are no pretrained weights for unet; leave out --encoder-weights.")
        case _:
            vgg16.load_vgg16(model, weights)
