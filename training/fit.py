"""Train a network: data in, a run folder with checkpoints, metrics, pictures and the averaged model out.

    run/config.json       everything that determines the result
    run/starts.json       command, versions, commit and machine of each start
    run/metrics.jsonl     one line an epoch
    run/checkpoint.json   where --resume goes on, and the weights file that belongs to it
    run/curves.png, predictions.png, report.html
    run/model.keras       averaged weights, ready to export

A run continues after ``kill -9`` from its last checkpoint and ends with the same weights as one that
was never interrupted: batches depend on (seed, epoch, index) only.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import keras

from perception.terminal import StatusLine
from training.album import Album
from training.data.borders import BorderTerm
from training.data.loader import Loader
from training.data.samples import Drawing, Mixture, Sampler
from training.devices import loss_share, on_devices
from training.distillation import Student
from training.head_training import build_trainee, instance_sampler
from training.label_loss import label_losses
from training.mask_rcnn.network import MaskRCNN
from training.mask_rcnn.saved import is_detector, start_detector
from training.models.network import build_network, load_encoder
from training.models.saved import load_model
from training.models.start import Start, start_from
from training.optimizer import optimizer_of
from training.run_folder import RunFolder
from training.saver import Scorer
from training.settings import FitConfig
from training.steps import precision, train
from training.tensorboard import TensorBoardLog

AUXILIARY_WEIGHT = 0.4


class Drawn(Protocol):
    """What a run shows of itself, such as ``Album``."""

    def draw(self, model: keras.Model, /) -> None:
        """Draw all of it anew. Raises OutputError."""
        ...


def fit(
    config: FitConfig, mixture: Mixture, score: Scorer, *, album: Drawn | None = None, resume: bool = False
) -> Path:
    """Train to the end and return the path of the averaged model.

    ``score`` is asked every ``evaluate_every`` epochs and after the last one; as often a checkpoint is written,
    and the pictures of ``album`` and the report are drawn.

    Raises:
        ConfigError: the run folder belongs to another configuration, or exists and ``resume`` is off; or there
            are fewer devices than asked for.
        ModelError: weights to start from, or the teacher, are missing or do not fit.
        SourceError: an image or its labels cannot be read.
        OutputError: the run folder cannot be written.
        RoadcastError: the loss is no longer finite; the last checkpoint stays.
    """
    folder = RunFolder(config.out, config.to_json() | {"data": mixture.to_json()})
    first_epoch = folder.first_epoch(resume=resume)
    with on_devices(config.devices):
        keras.utils.set_random_seed(config.seed)
        with precision(config.precision):
            model = _build(config, mixture) if config.head == "none" else build_trainee(config, mixture)
            if first_epoch == 0:  # else a checkpoint holds all weights, and those of the start may be gone
                _start(model, config, StatusLine(sys.stdout).note)
        with precision("float32"):  # what is scored and exported; bf16 is for the training steps alone
            averaged = _untrained(config)
        log = TensorBoardLog(config.out / "tensorboard", first_epoch) if config.tensorboard else None
        sampler = _sampler(config, mixture)
        return train(
            model,
            averaged,
            Loader(sampler, config.steps, workers=config.workers, first_epoch=first_epoch),
            folder,
            config,
            first_epoch=first_epoch,
            score=score,
            illustrate=(album or Album(config.out, [])).draw,
            log=log,
        )


def _untrained(config: FitConfig) -> keras.Model:
    """The network as it is saved, to take the averaged weights."""
    if config.head == "mask-rcnn":
        return MaskRCNN(config.width, config.encoder)
    return build_network(config.network, width=config.width, encoder=config.encoder, head=config.head_or_none)


def _sampler(config: FitConfig, mixture: Mixture) -> Drawing:
    if config.head != "none":
        return instance_sampler(config, mixture)
    border = BorderTerm(config.border, config.border_sigma) if config.border else None
    return Sampler(mixture, config.crop, config.batch, config.seed, border)


def _start(model: keras.Model, config: FitConfig, tell: Callable[[str], None]) -> None:
    """Give a model the weights that its run starts from, and say so. Raises ModelError."""
    if config.initial_weights is not None:
        tell(str(_start_of(model, config.initial_weights)))
    elif config.encoder_weights is not None:
        load_encoder(model, config.network, config.encoder_weights, encoder=config.encoder)


def _start_of(model: keras.Model, path: Path) -> Start:
    if not isinstance(model, MaskRCNN):
        return start_from(model, path)
    return start_detector(model, path) if is_detector(path) else start_from(model.trunk, path)


def _build(config: FitConfig, mixture: Mixture) -> keras.Model:
    share = loss_share()
    model = build_network(config.network, width=config.width, encoder=config.encoder, auxiliary=True)
    if config.teacher is not None:
        student = Student(model.inputs, model.outputs)
        teacher = load_model(config.teacher)
        student.learn_from(teacher, weight=config.teacher_weight * share, temperature=config.temperature)
        model = student
    loss, auxiliary_loss = label_losses(config, mixture)
    optimizer = optimizer_of(config)
    model.compile(optimizer, [loss, auxiliary_loss], loss_weights=[share, AUXILIARY_WEIGHT * share])
    optimizer.build(model.trainable_variables)
    return model
