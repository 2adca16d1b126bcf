"""What a run shows: a bar with the time left in a terminal, and in a log file a line an epoch, or a minute."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any

import keras

from perception.errors import RoadcastError
from perception.terminal import StatusLine

LOOK_PERIOD_S = 0.2  # between two looks at the loss, each of which waits for the device
LOG_PERIOD_S = 60.0  # between two lines of an epoch in a file or pipe
BAR = 24  # characters


class Progress(keras.callbacks.Callback):  # type: ignore[misc]  # keras is untyped
    """Shows steps as they go, and ends a run whose loss is no longer a number."""

    def __init__(self, line: StatusLine, *, epochs: int, steps: int, first_epoch: int, in_place: bool) -> None:
        super().__init__()
        self._line = line
        self._epochs = epochs
        self._steps = steps
        self._first = self._done = first_epoch * steps  # steps, counted over all epochs
        self._period_s = LOOK_PERIOD_S if in_place else LOG_PERIOD_S
        self._started = self._looked = self._shown = time.monotonic()

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Called by Keras after each step."""
        self._done += 1
        now = time.monotonic()
        if now - self._looked < LOOK_PERIOD_S:
            return
        self._looked = now
        epoch = (self._done - 1) // self._steps + 1
        loss = finite_loss(logs, epoch)
        if now - self._shown < self._period_s:
            return
        self._shown = now
        full = BAR * (batch + 1) // self._steps
        bar = "#" * full + "-" * (BAR - full)
        pace = (now - self._started) / (self._done - self._first)
        self._line.show(
            f"epoch {epoch}/{self._epochs} [{bar}] {batch + 1}/{self._steps}: loss {loss:.4f}, "
            f"{pace:.2f} s a step, {self.time_left()} left",
        )

    def note(self, text: str) -> None:
        """A line that stays."""
        self._shown = time.monotonic()
        self._line.note(f"{text}, {self.time_left()} left")

    def time_left(self) -> str:
        """The time that the rest will take if it goes on as it went, checkpoints and scoring included."""
        spent = time.monotonic() - self._started
        left = spent / max(1, self._done - self._first) * (self._epochs * self._steps - self._done)
        minutes = math.ceil(left / 60)
        if left < 90:
            return f"{left:.0f} s"
        return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02} min"


def finite_loss(logs: Mapping[str, Any] | None, epoch: int) -> float:
    """The running loss of an epoch, counted from 1. Raises RoadcastError where it is no number."""
    loss = float((logs or {})["loss"])
    if not math.isfinite(loss):
        raise RoadcastError(
            f"The loss became {loss} in epoch {epoch}; the last checkpoint, if there is one, stays in the run's "
            "folder. Try a smaller rate."
        )
    return loss
