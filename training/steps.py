"""The steps of a run, whatever is trained."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import keras

from perception.terminal import StatusLine
from training.data.loader import Loader
from training.progress import Progress
from training.provenance import note_of_start
from training.run_folder import RunFolder
from training.saver import Illustrator, Saver, Scorer
from training.tensorboard import TensorBoardLog


class Length(Protocol):
    """How long a run is, and how often it is scored; the settings of every kind of run say so."""

    @property
    def epochs(self) -> int: ...

    @property
    def steps(self) -> int: ...

    @property
    def evaluate_every(self) -> int: ...


def train(
    model: keras.Model,
    averaged: keras.Model,
    loader: Loader,
    folder: RunFolder,
    length: Length,
    *,
    first_epoch: int,
    score: Scorer,
    illustrate: Illustrator,
    log: TensorBoardLog | None = None,
) -> Path:
    """Train a compiled model to its last epoch and return the path of ``averaged``, which gets its mean weights.

    From a ``first_epoch`` above 0 on it begins with the weights of the folder's checkpoint. The loader is closed.

    Raises:
        ModelError: the checkpoint is missing or damaged.
        OutputError: the folder cannot be written.
        RoadcastError: a batch cannot be drawn, or the loss is no longer finite; the last checkpoint stays.
    """
    folder.claim(first_epoch, note_of_start(first_epoch))
    if first_epoch:
        folder.load_checkpoint(model)
    line = StatusLine(sys.stdout)
    progress = Progress(
        line, epochs=length.epochs, steps=length.steps, first_epoch=first_epoch, in_place=sys.stdout.isatty()
    )
    saver = Saver(
        folder,
        averaged,
        progress,
        epochs=length.epochs,
        every=length.evaluate_every,
        score=score,
        illustrate=illustrate,
        log=log,
    )
    try:
        with loader:
            _fit(model, loader, [progress, saver], first_epoch, length.epochs)
    finally:
        line.clear()
    return saver.finish()


def _fit(
    model: keras.Model, loader: Loader, callbacks: list[keras.callbacks.Callback], first_epoch: int, epochs: int
) -> None:
    """The steps from ``first_epoch`` to ``epochs``; an error of the loader comes out as it was."""
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
