"""A network by name and width: the one place where a name becomes a model."""

from __future__ import annotations

from pathlib import Path

import keras

from perception.errors import ModelError
from training.data.taxonomy import CLASSES
from training.models.efficientnet_lite import load_imagenet
from training.models.light_unet import WIDTHS, light_unet
from training.models.names import Network
from training.settings import Width


def build_network(
    name: Network, *, width: Width = "large", encoder: str = "lite0", classes: int = CLASSES, auxiliary: bool = False
) -> keras.Model:
    """BGR frames (B, H, W, 3) u8, sides in multiples of 32, to logits (B, h, w, classes) f32.

    h, w are H, W divided by the network's own stride (light 2, dilated 8, the others 1). ``width`` large is
    the published size, small fits 8 MB as an exported file. ``encoder`` is a variant of EfficientNet-Lite and
    matters to ``light`` alone. With ``auxiliary`` there is a second output, coarser logits for a loss during
    training; a model without it has the same layers and names but for ``auxiliary``.

    Raises:
        ModelError: there is no such network, width or encoder.
    """
    if width not in WIDTHS:
        raise ModelError(f"There is no width {width!r}; there are {', '.join(WIDTHS)}.")
    match name:
        case "light":
            return light_unet(WIDTHS[width], encoder, classes=classes, auxiliary=auxiliary)
        case _:
            raise ModelError(f"There is no network {name!r}; there is light.")


def load_encoder(model: keras.Model, name: Network, weights: Path, *, encoder: str = "lite0") -> None:
    """Fill the pretrained part of a network that ``build_network`` made with this name and encoder.

    Raises:
        ModelError: the file is missing, unreadable or does not fit, or the network has no pretrained encoder.
    """
    match name:
        case "light":
            load_imagenet(model, weights, encoder)
        case _:
            raise ModelError(f"There is no pretrained encoder for {name!r}; it trains from scratch.")
