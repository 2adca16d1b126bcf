"""Average the weights of several models of one network.

Wortsman et al. 2022, "Model soups": what fine-tuning has made of the same start in several ways lies in one basin of
the loss, and the mean of the weights is often better than each of them; two legs of one training are such models.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np

from perception.errors import ModelError
from training.models.saved import load_model


def average(shares: Sequence[tuple[Path, float]]) -> keras.Model:
    """The model whose weights are the mean of those in files, each counted by its share, whatever the shares add up to.

    Raises:
        ModelError: a file is no network of ours, or not the network of the first one.
    """
    models = [load_model(path) for path, _ in shares]
    first = models[0]
    for model, (path, _) in zip(models, shares):
        if _layout(model) != _layout(first):
            raise ModelError(
                f"{path} is another network than {shares[0][0]}: their layers or sizes differ. Give models of one "
                "network, width, encoder and head."
            )
    parts = np.array([share for _, share in shares], np.float64)
    mean = zip(*(model.get_weights() for model in models))
    first.set_weights([np.tensordot(parts / parts.sum(), np.stack(each), axes=1) for each in mean])
    return first


def _layout(model: keras.Model) -> list[tuple[str, tuple[int, ...]]]:
    """Layer by layer its name and the shapes of its weights."""
    return [(layer.name, tuple(weight.shape)) for layer in model.layers for weight in layer.weights]
