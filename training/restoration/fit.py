"""Teach a network to give a better picture back: frames in, a run folder with the model and its ONNX file out.

The folder is that of a segmentation run (``training.fit``): the same files, and it continues after ``kill -9`` in the
same way. It is a training of its own all the same: no labels, classes, encoders or teachers, another loss, and a
picture for a target.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
from keras import ops

from training.data.loader import Loader
from training.data.samples import Images
from training.models.restoration import build_restorer
from training.optimizer import build_optimizer
from training.report import read_metrics
from training.restoration.album import PictureAlbum
from training.restoration.export import export_enhancement
from training.restoration.names import UNTRANSLATED, Loss
from training.restoration.perceived import Difference, perceived_difference
from training.restoration.restorer import begin_with
from training.restoration.samples import Pictures, PictureSampler, task_of
from training.restoration.settings import RestoreConfig
from training.run_folder import RunFolder
from training.saver import Scorer
from training.steps import precision, train

Tensor = Any
_ENCODER_RATE = 0.25  # of the learning rate, for the encoder of a segmentation network
_SOFTENED = 2.0  # grey levels; below that the l1 loss is a square


def restore(
    config: RestoreConfig,
    pictures: Pictures,
    score: Scorer,
    *,
    album: PictureAlbum | None = None,
    facts: Mapping[str, str] | None = None,
    resume: bool = False,
) -> Path:
    """Train to the end and return the path of the averaged model; what is scored and drawn is as in ``fit``.

    Its enhancement for a node lies beside it as ``model.onnx``, with a card that holds ``facts`` and the last scores;
    not for ``UNTRANSLATED`` networks. A finished run that is resumed writes both again.

    Raises:
        ConfigError: the run folder belongs to another configuration, or exists and ``resume`` is off; or there is no
            degradation of a name.
        ModelError: the last checkpoint is damaged, or a model to start from or to please is missing or does not fit.
        SourceError: an image cannot be read.
        OutputError: the run folder cannot be written.
        RoadcastError: the loss is no longer finite; the last checkpoint stays.
    """
    task = task_of(config.degrade, config.factor)
    defaults = RestoreConfig(out=config.out).to_json()
    folder = RunFolder(config.out, config.to_json() | {"data": pictures.to_json()}, defaults)
    first_epoch = folder.first_epoch(resume=resume)
    keras.utils.set_random_seed(config.seed)
    with precision(config.precision):
        model = _compiled(config)
        if first_epoch == 0 and config.initial_weights is not None:  # else a checkpoint holds all weights
            begin_with(model, config.initial_weights)
    with precision("float32"):
        averaged = _built(config)
    sampler = PictureSampler(pictures, task, config.crop, config.batch, config.seed)
    path = train(
        model,
        averaged,
        PictureLoader(sampler, config.steps, workers=config.workers, first_epoch=first_epoch),
        folder,
        config,
        first_epoch=first_epoch,
        score=score,
        illustrate=(album or PictureAlbum(config.out, [], task)).draw,
    )
    if config.network not in UNTRANSLATED:
        scores = {k: v for k, v in read_metrics(config.out)[-1].items() if k.endswith(("PSNR", "SSIM", "input"))}
        known = {"network": config.network, "degradations": sorted(set(config.degrade)), "scores": scores}
        date = {"date": time.strftime("%Y-%m-%d")}
        export_enhancement(averaged, path.with_suffix(".onnx"), config.id, {**(facts or {}), **known, **date})
    return path


class PictureLoader(Loader):
    """Batches (spoilt, truth): a network of this kind has one output."""

    def __getitem__(self, index: int) -> tuple[Images, Images]:  # type: ignore[override]
        """Batch ``index`` of the current epoch. Raises RoadcastError if it cannot be drawn."""
        spoilt, (truth, _) = super().__getitem__(index)
        return spoilt, truth


def picture_loss(kind: Loss, seen: Difference | None = None, weight: float = 0.0) -> Any:
    """The loss between a picture and the truth, both (B, H, W, 3) of 0..255.

    ``l2`` is the mean square; ``l1`` the mean of sqrt(d^2 + e^2) - e (Charbonnier et al. 1994), which is absolute
    but smooth at 0. Both in units in which 0..255 is 0..1, times 100, so that progress shows. ``weight`` times what
    ``seen`` says of the two is added.
    """

    def l1(truth: Tensor, picture: Tensor) -> Tensor:
        difference = picture - ops.cast(truth, "float32")
        return ops.mean(ops.sqrt(difference**2 + _SOFTENED**2) - _SOFTENED) * (100 / 255)

    def l2(truth: Tensor, picture: Tensor) -> Tensor:
        return ops.mean((picture - ops.cast(truth, "float32")) ** 2) * (100 / 255**2)

    pixels = l1 if kind == "l1" else l2
    if seen is None:
        return pixels
    return lambda truth, picture: pixels(truth, picture) + weight * seen(truth, picture)


def keep_normalisation(model: keras.Model) -> None:
    """Let batch normalisation use, and leave, the statistics that were learnt before.

    Those of a batch are poor here: its few crops differ in noise and in light, and frames are seen one by one later.
    """
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False


def _built(config: RestoreConfig) -> keras.Model:
    return build_restorer(config.network, latent=config.latent, up=config.up, patch=config.crop[0])


def _compiled(config: RestoreConfig) -> keras.Model:
    model = _built(config)
    if config.initial_weights is not None:
        keep_normalisation(model)
    optimizer = build_optimizer(
        rate=config.rate,
        encoder_rate=_ENCODER_RATE,
        steps=config.epochs * config.steps,
        ema=config.ema,
        decay=config.decay,
    )
    seen = None
    if config.segmenter is not None:
        with precision("float32"):
            seen = perceived_difference(config.segmenter)
    model.compile(optimizer, picture_loss(config.loss, seen, config.segmenter_weight))
    optimizer.build(model.trainable_variables)
    return model
