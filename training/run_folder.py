"""The folder of a training run: its configuration, checkpoints and metrics, each written whole or not at all."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from perception.errors import ConfigError, ModelError, OutputError
from perception.files import write_whole
from training.settings import FitConfig

# Settings that change how a run is done, not what comes out.
_FREE = ("out", "workers", "evaluate_every", "tensorboard")
HDF5_OVERHEAD = 2048  # bytes that a variable takes beside its values, at most


@dataclass(frozen=True, slots=True)
class RunFolder:
    """``path`` and the configuration, in plain values, of the run that lives or is to live there."""

    path: Path
    config: Mapping[str, Any]
    defaults: Mapping[str, Any] | None = None  # of its settings; None: those of a segmentation run

    def first_epoch(self, *, resume: bool) -> int:
        """The epoch to start at, counted from 0; nothing is written.

        Raises:
            ConfigError: there is a run of another configuration, or one at all and ``resume`` is off.
        """
        if not (self.path / "config.json").exists():
            return 0
        if not resume:
            raise ConfigError(f"{self.path} holds a run already; give --resume to go on with it, or another --out.")
        before, now = self._read("config.json"), json.loads(json.dumps(self.config))
        # A run that was begun before a setting existed was done with what is its default today.
        defaults = json.loads(json.dumps(self.defaults or FitConfig(out=self.path).to_json()))
        changed = [key for key in now if key not in _FREE and before.get(key, defaults.get(key)) != now[key]]
        if changed:
            raise ConfigError(f"The run in {self.path} was started with another {', '.join(changed)}; keep it so.")
        return int(self._checkpoint().get("epoch", 0))

    def claim(self, first_epoch: int, start: Mapping[str, Any] | None = None) -> None:
        """Write the configuration and a note of this start; forget the metrics of epochs that will be done again.

        Raises:
            OutputError: the folder cannot be made or written.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"Cannot make the run folder {self.path}: {error.strerror}.") from None
        write_whole(self.path / "config.json", json.dumps(self.config, indent=1) + "\n")
        if start is not None:
            starts = self._read("starts.json")["starts"] if (self.path / "starts.json").exists() else []
            write_whole(self.path / "starts.json", json.dumps({"starts": [*starts, start]}, indent=1) + "\n")
        metrics = self.path / "metrics.jsonl"
        lines = metrics.read_text().splitlines(keepends=True) if metrics.exists() else []
        write_whole(metrics, "".join(lines[:first_epoch]))  # one line an epoch

    def add_metrics(self, line: Mapping[str, Any]) -> None:
        """Append one epoch's line. Raises OutputError."""
        try:
            with (self.path / "metrics.jsonl").open("a") as file:
                file.write(json.dumps(line) + "\n")
        except OSError as error:
            raise OutputError(f"Cannot write {self.path / 'metrics.jsonl'}: {error.strerror}.") from None

    def save_checkpoint(self, model: keras.Model, epoch: int) -> None:
        """Keep weights, batch statistics and optimizer state after ``epoch`` epochs.

        The weights have a name of their own, so that the small file that is renamed last decides which count.

        Raises:
            OutputError: it cannot be written; the checkpoint before stays.
        """
        before = self._checkpoint().get("weights")
        name = f"checkpoint-{epoch}.weights.h5"
        state = [*model.variables, *model.optimizer.variables]
        _write_by(lambda path: model.save_weights(path, overwrite=True), "part.weights.h5", self.path / name, state)
        write_whole(self.path / "checkpoint.json", json.dumps({"epoch": epoch, "weights": name}))
        if before not in (None, name):
            (self.path / before).unlink(missing_ok=True)

    def load_checkpoint(self, model: keras.Model) -> None:
        """Fill a compiled model, and its optimizer, from the last checkpoint.

        Raises:
            ModelError: the weights are missing or damaged.
        """
        path = self.path / self._checkpoint()["weights"]
        try:
            model.load_weights(path)
        except (OSError, ValueError, KeyError) as error:
            reason = str(error).partition("\n")[0]
            raise ModelError(f"The checkpoint {path} cannot be read: {reason}. Start again in another --out.") from None

    def save_model(self, model: keras.Model) -> Path:
        """Write ``model.keras`` and return its path. Raises OutputError."""
        path = self.path / "model.keras"
        _write_by(model.save, "part.keras", path, model.variables)
        return path

    def _checkpoint(self) -> dict[str, Any]:
        return self._read("checkpoint.json") if (self.path / "checkpoint.json").exists() else {}

    def _read(self, name: str) -> dict[str, Any]:
        try:
            content = json.loads((self.path / name).read_text())
        except ValueError:
            content = None
        if not isinstance(content, dict):
            raise ConfigError(f"{self.path / name} is damaged; start again in another --out.")
        return content


def _write_by(save: Callable[[Path], object], temporary_name: str, path: Path, state: Sequence[Any]) -> None:
    """Let a library write a file of these variables under a temporary name, then rename it."""
    temporary = path.with_name(temporary_name)
    try:
        _reserve(temporary, sum(int(np.prod(v.shape)) * np.dtype(v.dtype).itemsize + HDF5_OVERHEAD for v in state))
        save(temporary)
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        reason = os.strerror(error.errno) if error.errno else str(error).partition("\n")[0]
        raise OutputError(
            f"Cannot write {path}: {reason}. What was saved before stays; free space and go on."
        ) from None


def _reserve(path: Path, size: int) -> None:
    """Raise OSError where ``size`` bytes do not fit: HDF5 itself meets a full disk with a row of tracebacks."""
    if not hasattr(os, "posix_fallocate"):  # macOS, Windows
        return
    with path.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, size)
