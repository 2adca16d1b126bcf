"""How differently a segmentation network sees two pictures: a loss for pictures that are made to be segmented."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
from keras import ops

from training.models.saved import load_model

Tensor = Any
Difference = Callable[[Tensor, Tensor], Tensor]

_RARE = 0.02  # of the pixels: a class that covers less gains no further weight


def perceived_difference(path: Path) -> Difference:
    """From (truth, picture), both (B, H, W, 3) of 0..255, to the divergence of what the network at ``path`` sees.

    It is the mean Kullback-Leibler divergence of the class probabilities for the picture from those for the truth
    (Hinton, Vinyals, Dean 2015, at temperature 1), a perceptual loss (Johnson, Alahi, Fei-Fei 2016) on answers
    rather than features. Pixels weigh by the inverse share of their classes in the batch, as mean IoU weighs them:
    a pole counts like a road. The network itself does not learn, and no labels are needed.

    Raises:
        ModelError: there is no such model, or it gives no logits.
    """
    network = _from_floats(load_model(path))

    def difference(truth: Tensor, picture: Tensor) -> Tensor:
        seen = ops.log_softmax(_logits(network, picture))
        wanted = ops.stop_gradient(ops.log_softmax(_logits(network, ops.cast(truth, "float32"))))
        shares = ops.exp(wanted)
        divergence = ops.sum(shares * (wanted - seen), axis=-1)
        weights = ops.sum(shares / (ops.mean(shares, axis=(0, 1, 2)) + _RARE), axis=-1)
        return ops.mean(divergence * weights) / ops.mean(weights)

    return difference


def _logits(network: keras.Model, picture: Tensor) -> Tensor:
    output = network(picture, training=False)
    return ops.cast(output[0] if isinstance(output, (list, tuple)) else output, "float32")


def _from_floats(model: keras.Model) -> keras.Model:
    """The same network for f32 frames: a u8 input lets no gradient through."""
    frame = keras.Input((None, None, 3), dtype="float32", name="values")
    network = keras.models.clone_model(model, input_tensors=frame)
    network.set_weights(model.get_weights())
    network.trainable = False
    return network
