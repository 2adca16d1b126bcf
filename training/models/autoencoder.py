"""Autoencoders (Hinton & Salakhutdinov 2006, "Reducing the Dimensionality of Data with Neural Networks").

A picture goes through a narrow place and is drawn again from what passed. Trained to give back what came in they
compress; trained to give the clean picture for a spoilt one they denoise (Vincent et al. 2008). Both take u8 BGR
frames and give f32 BGR of the same size within 0..255.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import layers

from training.models.unpooling import MaxPoolWithPlace, MaxUnpool
from training.restoration.names import Up

Tensor = Any

_DENSE = 512  # units of the hidden layer on either side of the latent one


def dense_autoencoder(side: int = 32, latent: int = 64, *, hidden: int = _DENSE) -> keras.Model:
    """Patches (B, side, side, 3) through fully connected layers and ``latent`` numbers."""
    frame = keras.Input((side, side, 3), dtype="uint8", name="frame")
    x = layers.Flatten(name="flat")(layers.Rescaling(1 / 127.5, offset=-1.0, name="normalise")(frame))
    x = layers.Dense(hidden, activation="relu", kernel_initializer="he_normal", name="encoder")(x)
    x = layers.Dense(latent, name="latent")(x)
    x = layers.Dense(hidden, activation="relu", kernel_initializer="he_normal", name="decoder")(x)
    x = layers.Dense(side * side * 3, name="drawn")(x)
    return _picture(frame, layers.Reshape((side, side, 3), name="patch")(x), "dense_autoencoder")


def conv_autoencoder(latent: int = 64, *, up: Up = "resize", channels: tuple[int, ...] = (16, 32, 64)) -> keras.Model:
    """Frames, sides in multiples of 2^levels, through ``latent`` channels at 1 / 2^levels of their size.

    Up by ``transposed`` convolutions of kernel 3 and stride 2, whose kernels overlap unevenly; by ``unpool``, which
    puts values where max-pooling on the way down found its maxima (those places pass beside the narrow one, and the
    way down pools instead of striding); or by ``resize``, nearest neighbours followed by a convolution, which
    cannot make checkerboards (Odena, Dumoulin, Olah 2016).
    """
    frame = keras.Input((None, None, 3), dtype="uint8", name="frame")
    x = layers.Rescaling(1 / 127.5, offset=-1.0, name="normalise")(frame)
    places = []
    for level, width in enumerate(channels):
        x = _conv(x, width, f"encoder{level}", strides=1 if up == "unpool" else 2)
        if up == "unpool":
            x, place = MaxPoolWithPlace(name=f"pool{level}")(x)
            places.append(place)
    x = layers.Conv2D(latent, 1, name="latent")(x)
    x = layers.Conv2D(channels[-1], 1, activation="relu", name="opened")(x)
    for level in reversed(range(len(channels))):
        width = channels[level - 1] if level else channels[0]
        match up:
            case "transposed":
                x = layers.Conv2DTranspose(
                    width, 3, 2, padding="same", activation="relu", kernel_initializer="he_normal", name=f"up{level}"
                )(x)
            case "unpool":
                x = _conv(MaxUnpool(name=f"up{level}")([x, places[level]]), width, f"decoder{level}")
            case "resize":
                x = layers.UpSampling2D(2, interpolation="nearest", name=f"up{level}")(x)
                x = _conv(x, width, f"decoder{level}")
    return _picture(frame, layers.Conv2D(3, 3, padding="same", name="drawn")(x), f"conv_autoencoder_{up}")


def _conv(x: Tensor, channels: int, name: str, *, strides: int = 1) -> Tensor:
    return layers.Conv2D(
        channels, 3, strides, padding="same", activation="relu", kernel_initializer="he_normal", name=name
    )(x)


def _picture(frame: Tensor, x: Tensor, name: str) -> keras.Model:
    """From about -1..1 to 0..255."""
    values = layers.Rescaling(127.5, offset=127.5, dtype="float32", name="values")(x)
    return keras.Model(frame, layers.ReLU(max_value=255.0, dtype="float32", name="picture")(values), name=name)
