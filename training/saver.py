"""What happens after each epoch: check the loss, average, score, checkpoint, illustrate, tell."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras

from training.progress import Progress, finite_loss
from training.run_folder import RunFolder
from training.tensorboard import TensorBoardLog

# Scores of a model by name: numbers, which are told, and whatever else belongs in the metrics.
Scorer = Callable[[keras.Model], Mapping[str, Any]]
Illustrator = Callable[[keras.Model], None]


class Saver(keras.callbacks.Callback):  # type: ignore[misc]  # keras is untyped
    """Writes a line of metrics each epoch; every ``every`` epochs, and after the last, scores and checkpoint.

    ``illustrate`` is called after each checkpoint, with the averaged model; ``log`` is given every line as well.
    """

    def __init__(
        self,
        folder: RunFolder,
        averaged: keras.Model,
        progress: Progress,
        *,
        epochs: int,
        every: int,
        score: Scorer,
        illustrate: Illustrator,
        log: TensorBoardLog | None = None,
    ) -> None:
        super().__init__()
        self._folder = folder
        self._averaged = averaged
        self._progress = progress
        self._epochs = epochs
        self._every = every
        self._score = score
        self._illustrate = illustrate
        self._log = log
        self._started = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Called by Keras; ``epoch`` counts from 0."""
        loss = finite_loss(logs, epoch + 1)
        if hasattr(self.model, "jax_state_sync"):  # the JAX trainer keeps its state apart between steps
            self.model.jax_state_sync()
        line: dict[str, Any] = {"epoch": epoch + 1, "loss": round(loss, 5)}
        due = epoch + 1 == self._epochs or (epoch + 1) % self._every == 0
        if due:
            average_into(self._averaged, self.model)
            line |= self._score(self._averaged)
        line["rate"] = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        line["seconds"] = round(time.monotonic() - self._started, 1)
        self._folder.add_metrics(line)
        if self._log is not None:
            self._log.write(line)
        if due:  # after the metrics: a resumed run keeps as many lines as the checkpoint has epochs
            self._folder.save_checkpoint(self.model, epoch + 1)
            self._illustrate(self._averaged)
        self._tell(line)

    def _tell(self, line: dict[str, Any]) -> None:
        quiet = ("epoch", "loss", "rate", "seconds")
        scores = "".join(f", {k} {v}" for k, v in line.items() if k not in quiet and isinstance(v, (int, float)))
        self._progress.note(f"epoch {line['epoch']}/{self._epochs}: loss {line['loss']:.4f}{scores}")

    def finish(self) -> Path:
        """Save the averaged model of the last epoch and return its path."""
        average_into(self._averaged, self.model)
        return self._folder.save_model(self._averaged)


def average_into(target: keras.Model, trained: keras.Model) -> None:
    """Copy the moving average of ``trained``'s weights, and its batch statistics, into ``target``."""
    averages = {
        variable.path: average
        for variable, average in zip(trained.trainable_variables, trained.optimizer._model_variables_moving_average)
    }
    sources = {variable.path: variable for variable in trained.weights} | averages
    for variable in target.weights:  # not the states of random generators, which no prediction needs
        variable.assign(keras.ops.convert_to_numpy(sources[variable.path]))
