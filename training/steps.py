"""The steps of a run, whatever is trained."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import keras

from training.data.loader import Loader


def train(
    model: keras.Model, loader: Loader, callbacks: list[keras.callbacks.Callback], first_epoch: int, epochs: int
) -> None:
    """The steps of a compiled model from ``first_epoch`` to ``epochs``; an error of the loader comes out as it was."""
    tell_epoch = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, _logs: loader.start_epoch(epoch))
    try:
        model.fit(
            loader,
            epochs=epochs,
            initial_epoch=first_epoch,
            callbacks=[tell_epoch, *callbacks],
            verbose=0,
            shuffle=False,
        )
    except Exception:
        if loader.failure is not None:  # a backend hides it in an error of its own
            raise loader.failure from None
        raise


@contextmanager
def precision(policy: str) -> Iterator[None]:
    """Build layers under this dtype policy."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
