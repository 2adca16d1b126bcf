"""Begin a training with the weights of another one's model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import keras

from perception.errors import ModelError
from training.models.saved import load_model

# What may stay behind of an FCN for another one: the last up-sampling, whose size is the stride's.
_LAST_UP = "up_from"
_FEW = 6  # new layers that are named one by one


@dataclass(frozen=True, slots=True)
class Start:
    """Names of the layers with weights that were copied, that start anew, and of the old model's that were not used."""

    path: Path
    copied: Sequence[str]
    new: Sequence[str]
    left: Sequence[str]

    def __str__(self) -> str:
        text = f"start from {self.path}: {len(self.copied)} layers copied ({self.copied[0]} .. {self.copied[-1]})"
        few = len(self.new) <= _FEW
        text += f"; new: {', '.join(self.new) if few else f'{len(self.new)} layers'}" if self.new else ""
        return text + (f"; left behind: {', '.join(self.left)}" if self.left else "")


def start_from(model: keras.Model, path: Path, *, without: tuple[str, ...] = (_LAST_UP,)) -> Start:
    """Copy into ``model`` every layer of the trained model in ``path``; what that one lacks starts anew.

    Where ``model`` has no layer of a name that begins with one of ``without``, it is left behind.

    A finer FCN takes over a coarser one (Long, Shelhamer, Darrell 2015, section 4.2: 32s, then 16s, then 8s): all
    layers but the last up-sampling, and the new skip, whose scores start at zero, changes no answer yet.

    Raises:
        ModelError: the file is no model, or holds another layer that ``model`` lacks or has in another size.
    """
    return copy_layers(model, load_model(path), path, without=without)


def copy_layers(model: keras.Model, old: keras.Model, path: Path, *, without: tuple[str, ...] = ()) -> Start:
    """Copy into ``model`` every layer of ``old``, the model in ``path``, as ``start_from`` does. Raises ModelError."""
    ours = {layer.name: layer for layer in model.layers}
    copied, left = [], []
    for layer in old.layers:
        if not layer.weights:
            continue
        if layer.name not in ours and layer.name.startswith(without):
            left.append(layer.name)
            continue
        try:
            ours[layer.name].set_weights(layer.get_weights())
        except (KeyError, ValueError):
            raise ModelError(
                f"{path} cannot start this run: its layer {layer.name!r} does not fit. Give the network, the width and "
                "the encoder that it was trained with, and its head if it has one, or for an FCN a finer one."
            ) from None
        copied.append(layer.name)
    if not copied:
        raise ModelError(f"{path} cannot start this run: it has no layer with weights.")
    return Start(path, copied, [name for name, layer in ours.items() if layer.weights and name not in copied], left)
