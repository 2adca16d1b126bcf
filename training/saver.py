"""What happens after each epoch: check the loss, average, score, checkpoint, tell."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras

from perception.errors import RoadcastError
from training.run_folder import RunFolder

Scorer = Callable[[keras.Model], dict[str, float]]


class Saver(keras.callbacks.Callback):  # type: ignore[misc]  # keras is untyped
    """Writes a line of metrics each epoch; every ``every`` epochs, and after the last, scores and checkpoint."""

    def __init__(self, folder: RunFolder, epochs: int, every: int, averaged: keras.Model, score: Scorer) -> None:
        super().__init__()
        self._folder = folder
        self._epochs = epochs
        self._every = every
        self._averaged = averaged
        self._score = score
        self._started = time.monotonic()
        self._done = 0

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Called by Keras; ``epoch`` counts from 0."""
        loss = float((logs or {})["loss"])
        if not math.isfinite(loss):
            raise RoadcastError(
                f"The loss became {loss} in epoch {epoch + 1}; the last checkpoint, if there is one, stays in "
                f"{self._folder.path}. Try a smaller rate."
            )
        if hasattr(self.model, "jax_state_sync"):  # the JAX trainer keeps its state apart between steps
            self.model.jax_state_sync()
        self._done += 1
        line: dict[str, Any] = {"epoch": epoch + 1, "loss": round(loss, 5)}
        due = epoch + 1 == self._epochs or (epoch + 1) % self._every == 0
        if due:
            average_into(self._averaged, self.model)
            line |= self._score(self._averaged)
        line["seconds"] = round(time.monotonic() - self._started, 1)
        self._folder.add_metrics(line)
        if due:  # after the metrics: a resumed run keeps as many lines as the checkpoint has epochs
            self._folder.save_checkpoint(self.model, epoch + 1)
        self._tell(line)

    def _tell(self, line: dict[str, Any]) -> None:
        minutes = line["seconds"] / self._done * (self._epochs - line["epoch"]) / 60
        scores = "".join(f", {k} {v}" for k, v in line.items() if k not in ("epoch", "loss", "seconds"))
        progress = f"epoch {line['epoch']}/{self._epochs}: loss {line['loss']:.4f}{scores}"
        print(f"{progress}, {minutes:.0f} min left", flush=True)

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
    sources = {variable.path: variable for variable in trained.variables} | averages
    for variable in target.variables:
        variable.assign(sources[variable.path])
