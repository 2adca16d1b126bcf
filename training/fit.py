"""Train the light U-Net: data in, a run folder with checkpoints, metrics and the best weights out.

    run/config.json       everything that determines the result
    run/metrics.jsonl     one line an epoch
    run/checkpoint.weights.h5, run/checkpoint.json   where --resume goes on
    run/model.keras       averaged weights, ready to export

A run continues after ``kill -9`` from its last checkpoint and ends with the same weights as one that
was never interrupted: batches depend on (seed, epoch, index) only.
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras

from perception.errors import ConfigError, RoadcastError
from training.data.loader import Loader
from training.data.samples import Mixture, Sampler
from training.data.statistics import class_frequencies, inverse_power_weights
from training.files import write_atomically
from training.losses import SegmentationLoss
from training.models.efficientnet_lite import load_imagenet
from training.models.light_unet import WIDTHS, light_unet
from training.optimizer import build_optimizer
from training.settings import FitConfig

AUXILIARY_WEIGHT = 0.4


Scorer = Callable[[keras.Model], dict[str, float]]


def fit(config: FitConfig, mixture: Mixture, score: Scorer, *, resume: bool = False) -> Path:
    """Train to the end and return the path of the averaged model.

    ``score`` is asked every ``evaluate_every`` epochs and after the last one.

    Raises:
        ConfigError: the run folder belongs to another configuration, or exists and ``resume`` is off.
        RoadcastError: the loss became NaN; the last checkpoint stays.
    """
    first_epoch = _prepare_folder(config, resume)
    keras.utils.set_random_seed(config.seed)
    keras.config.set_dtype_policy(config.precision)
    model = _build(config, mixture)
    averaged = light_unet(WIDTHS[config.width], config.encoder)
    if first_epoch:
        model.load_weights(config.out / "checkpoint.weights.h5")
    sampler = Sampler(mixture, config.crop, config.batch, config.seed)
    saver = _Saver(config, averaged, score, first_epoch)
    bar = 1 if sys.stdout.isatty() else 0
    with Loader(sampler, config.steps, workers=config.workers, first_epoch=first_epoch) as loader:
        model.fit(
            loader, epochs=config.epochs, initial_epoch=first_epoch, callbacks=[saver], verbose=bar, shuffle=False
        )
    return saver.finish()


def _build(config: FitConfig, mixture: Mixture) -> keras.Model:
    model = light_unet(WIDTHS[config.width], config.encoder, auxiliary=True)
    if config.initial_weights is not None:
        _start_from(model, keras.models.load_model(config.initial_weights, compile=False))
    elif config.encoder_weights is not None:
        load_imagenet(model, config.encoder_weights, config.encoder)
    frequencies = class_frequencies(pair for part in mixture.parts for pair in part)
    weights = inverse_power_weights(frequencies, config.weight_power)
    loss = SegmentationLoss(hard_share=config.hard_share, dice=config.dice, class_weights=weights)
    optimizer = build_optimizer(
        rate=config.rate,
        encoder_rate=config.encoder_rate,
        steps=config.epochs * config.steps,
        ema=config.ema,
        decay=config.decay,
    )
    model.compile(optimizer, [loss, loss], loss_weights=[1.0, AUXILIARY_WEIGHT])
    optimizer.build(model.trainable_variables)
    return model


def _start_from(model: keras.Model, trained: keras.Model) -> None:
    """Copy every layer that ``trained`` has; the auxiliary head starts anew."""
    for layer in trained.layers:
        model.get_layer(layer.name).set_weights(layer.get_weights())


def _prepare_folder(config: FitConfig, resume: bool) -> int:
    """Make or check the run folder; returns the epoch to start at."""
    path = config.out / "config.json"
    if path.exists():
        if not resume:
            raise ConfigError(f"{config.out} holds a run already; give --resume to go on with it, or another --out.")
        before = json.loads(path.read_text())
        now = json.loads(json.dumps(config.to_json()))
        changed = [k for k in now if k not in ("workers", "out") and before.get(k) != now[k]]
        if changed:
            raise ConfigError(
                f"The run in {config.out} was started with another {', '.join(changed)}; they must agree."
            )
        state = config.out / "checkpoint.json"
        return int(json.loads(state.read_text())["epoch"]) if state.exists() else 0
    config.out.mkdir(parents=True, exist_ok=True)
    write_atomically(path, json.dumps(config.to_json(), indent=1))
    return 0


class _Saver(keras.callbacks.Callback):  # type: ignore[misc]  # keras is untyped
    """After each epoch: check the loss, checkpoint, score the averaged weights, write a line of metrics."""

    def __init__(self, config: FitConfig, averaged: keras.Model, score: Scorer, first_epoch: int) -> None:
        super().__init__()
        self._first_epoch = first_epoch
        self._config = config
        self._averaged = averaged
        self._score = score
        self._started = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Called by Keras; ``epoch`` counts from 0."""
        loss = float((logs or {})["loss"])
        if not math.isfinite(loss):
            raise RoadcastError(
                f"The loss became {loss} in epoch {epoch + 1}; the checkpoint of the epoch before is kept in "
                f"{self._config.out}. Try a smaller rate."
            )
        if hasattr(self.model, "jax_state_sync"):  # the JAX trainer keeps its state apart between steps
            self.model.jax_state_sync()
        line: dict[str, Any] = {"epoch": epoch + 1, "loss": round(loss, 5)}
        last = epoch + 1 == self._config.epochs
        if last or (epoch + 1) % self._config.evaluate_every == 0:
            average_into(self._averaged, self.model)
            line |= self._score(self._averaged)
            self._checkpoint(epoch + 1)
        line["seconds"] = round(time.monotonic() - self._started, 1)
        with (self._config.out / "metrics.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")
        self._tell(line)

    def _tell(self, line: dict[str, Any]) -> None:
        done = line["epoch"] - self._first_epoch
        minutes = line["seconds"] / done * (self._config.epochs - line["epoch"]) / 60
        scores = "".join(f", {k} {v}" for k, v in line.items() if k not in ("epoch", "loss", "seconds"))
        progress = f"epoch {line['epoch']}/{self._config.epochs}: loss {line['loss']:.4f}{scores}"
        print(f"{progress}, {minutes:.0f} min left", flush=True)

    def finish(self) -> Path:
        """Save the averaged model of the last epoch."""
        average_into(self._averaged, self.model)
        path = self._config.out / "model.keras"
        temporary = self._config.out / "part.keras"
        self._averaged.save(temporary)
        temporary.replace(path)
        return path

    def _checkpoint(self, epoch: int) -> None:
        temporary = self._config.out / "part.weights.h5"
        self.model.save_weights(temporary)
        temporary.replace(self._config.out / "checkpoint.weights.h5")
        write_atomically(self._config.out / "checkpoint.json", json.dumps({"epoch": epoch}))


def average_into(target: keras.Model, trained: keras.Model) -> None:
    """Copy the moving average of ``trained``'s weights, and its batch statistics, into ``target``."""
    averages = {
        variable.path: average
        for variable, average in zip(trained.trainable_variables, trained.optimizer._model_variables_moving_average)
    }
    sources = {variable.path: variable for variable in trained.variables} | averages
    for variable in target.variables:
        variable.assign(sources[variable.path])
