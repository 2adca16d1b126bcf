"""Several devices of one machine: each computes its share of every batch, and the gradients are averaged.

Batch statistics (normalisation, hard-pixel cuts) are those of a share, so that a run on two devices is not
the same as one on a single device; it is repeatable all the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

import keras

from perception.errors import ConfigError


@contextmanager
def on_devices(count: int) -> Iterator[None]:
    """Models built and trained inside use the first ``count`` devices: GPUs, or without one virtual CPU devices.

    Raises:
        ConfigError: there are fewer GPUs, or the backend of Keras is one that this has not been made for.
    """
    backend = keras.backend.backend()
    if count == 1:
        yield
    elif backend == "tensorflow":
        with _mirrored(count):
            yield
    elif backend == "jax":
        found = keras.distribution.list_devices()
        if len(found) < count:
            raise _too_few(count, len(found), "XLA_FLAGS=--xla_force_host_platform_device_count makes virtual ones.")
        before = keras.distribution.distribution()
        keras.distribution.set_distribution(keras.distribution.DataParallel(devices=found[:count]))
        try:
            yield
        finally:
            keras.distribution.set_distribution(before)
    else:
        raise ConfigError(f"--devices {count} needs Keras on TensorFlow or JAX; it runs on {backend} here.")


def loss_share() -> float:
    """What the loss of one device's share of a batch counts: TensorFlow adds gradients up, and they are to be averaged.

    Keras does this for losses that are its own and one value a sample; those here are one value a batch.
    """
    if keras.backend.backend() != "tensorflow":
        return 1.0
    import tensorflow as tf

    return 1.0 / int(tf.distribute.get_strategy().num_replicas_in_sync)


@contextmanager
def _mirrored(count: int) -> Iterator[None]:
    import tensorflow as tf

    gpus = tf.config.list_logical_devices("GPU") if tf.config.list_physical_devices("GPU") else []
    if gpus and len(gpus) < count:
        raise _too_few(count, len(gpus), "")
    names = [device.name for device in gpus] or _virtual_cpus(count)
    with tf.distribute.MirroredStrategy(names[:count]).scope():
        yield


def _virtual_cpus(count: int) -> list[str]:
    import tensorflow as tf

    cpu = tf.config.list_physical_devices("CPU")[0]
    with suppress(RuntimeError, ValueError):  # TensorFlow has begun to compute: what there is now stays
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * count)
    found = [device.name for device in tf.config.list_logical_devices("CPU")]
    if len(found) < count:
        raise _too_few(count, len(found), "Virtual ones have to be made before TensorFlow computes anything.")
    return found


def _too_few(wanted: int, found: int, hint: str) -> ConfigError:
    return ConfigError(f"--devices {wanted}: this machine shows {found}. {hint}".rstrip())
