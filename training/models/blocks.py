"""Layers that several networks share."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import layers, ops

from training.models.arithmetic import bilinear_kernel

Tensor = Any


def conv_relu(x: Tensor, channels: int, kernel: int, name: str, *, norm: bool = True, **options: Any) -> Tensor:
    """Convolution, batch normalisation where ``norm``, ReLU; 'same' padding unless ``options`` say otherwise.

    The layers are called ``<name>_conv``, ``<name>_bn`` and ``<name>_relu``. With normalisation the convolution
    has no bias: the shift after it is one.
    """
    start = {} if norm else {"kernel_initializer": "he_normal"}  # without it, ReLU halves the variance at each layer
    options = {"padding": "same", "use_bias": not norm, **start, **options}
    x = layers.Conv2D(channels, kernel, name=f"{name}_conv", **options)(x)
    if norm:
        x = layers.BatchNormalization(momentum=0.99, epsilon=1e-3, name=f"{name}_bn")(x)
    return layers.ReLU(name=f"{name}_relu")(x)


def score(x: Tensor, classes: int, name: str, *, start: str = "glorot_uniform") -> Tensor:
    """Class scores by a 1x1 convolution, in f32 whatever the precision of the rest."""
    return layers.Conv2D(classes, 1, kernel_initializer=start, dtype="float32", name=name)(x)


def up_score(x: Tensor, factor: int, name: str) -> Tensor:
    """Class scores (B, h, w, C), ``factor`` (even) times larger: a transposed convolution that starts bilinear.

    It learns. At the border it reads zeros, where interpolation would repeat the edge; what is missing there it learns.
    """
    return layers.Conv2DTranspose(
        x.shape[-1],
        2 * factor,
        factor,
        padding="same",
        use_bias=False,
        kernel_initializer=Bilinear(),
        dtype="float32",
        name=name,
    )(x)


@keras.saving.register_keras_serializable("roadcast")
class Bilinear(keras.initializers.Initializer):  # type: ignore[misc]  # keras is untyped
    """Kernel (k, k, C, C) of a transposed convolution of stride k / 2 that interpolates each channel by itself."""

    def __call__(self, shape: tuple[int, ...], dtype: Any = None) -> Tensor:
        """The kernel; raises ValueError unless k is even and square and the channels are as many as before."""
        height, width, outputs, inputs = shape
        if height != width or height % 2 or outputs != inputs:
            raise ValueError(f"a bilinear kernel is (2s, 2s, C, C), got {shape}")
        kernel = bilinear_kernel(height // 2)[..., None, None] * np.eye(outputs, dtype=np.float32)
        return ops.convert_to_tensor(kernel, dtype=dtype or "float32")


@keras.saving.register_keras_serializable("roadcast")
class SavedDropout(layers.Layer):  # type: ignore[misc]  # keras is untyped
    """Dropout whose random state is part of the weights files: a resumed run drops what an uninterrupted one does."""

    def __init__(self, rate: float, **options: Any) -> None:
        super().__init__(**options)
        self.rate = rate
        # A path of its own: Keras would count generators, and the same network built twice would differ.
        self.seed_generator = keras.random.SeedGenerator(name=f"{self.name}_seed")

    def call(self, x: Tensor, training: bool = False) -> Tensor:
        """During training, zero a share ``rate`` of the values and scale up the rest."""
        return keras.random.dropout(x, self.rate, seed=self.seed_generator) if training and self.rate else x

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Unchanged."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """What is needed to build this layer again."""
        return {**super().get_config(), "rate": self.rate}

    def save_own_variables(self, store: Any) -> None:
        """Write the state of the generator."""
        store["seed"] = ops.convert_to_numpy(self.seed_generator.state)

    def load_own_variables(self, store: Any) -> None:
        """Read the state of the generator."""
        self.seed_generator.state.assign(np.asarray(store["seed"]))


@keras.saving.register_keras_serializable("roadcast")
class CropLike(layers.Layer):  # type: ignore[misc]  # keras is untyped
    """[x (B, H, W, C), reference (B, h, w, ...)] to (B, h, w, C): rows and columns beyond the reference's are cut.

    Pooling rounds odd sizes up and adds the missing row at the end, so what is cut lies at the end too. Where
    all sizes divide by the strides there is nothing to cut, and nothing is exported.
    """

    def call(self, inputs: list[Tensor]) -> Tensor:
        """Cut the first input to the size of the second."""
        x, reference = inputs
        size = ops.shape(reference)
        return x[:, : size[1], : size[2], :]

    def compute_output_shape(self, input_shape: list[tuple[int | None, ...]]) -> tuple[int | None, ...]:
        """Rows and columns of the second, the rest of the first."""
        x, reference = input_shape
        return (x[0], reference[1], reference[2], x[3])
