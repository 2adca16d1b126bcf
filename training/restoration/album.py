"""What a run shows of itself after each checkpoint: curves, a sheet of input, output and truth, and the report."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import keras
import numpy as np

from perception.files import write_whole
from perception.types import Image
from training.data.datasets import Pair, read_image
from training.metrics.picture import psnr, ssim
from training.plots import plot_curves
from training.report import read_metrics, write_report
from training.restoration.restorer import Restorer, keras_restorer
from training.restoration.samples import Task, shrink

SHEET_ROWS = 4
SCORED = 6  # frames of each data set while a run goes on
_WIDEST = 640  # pixels of a frame on a sheet


@dataclass(frozen=True, slots=True)
class PictureAlbum:
    """The pictures in a run's folder; ``pairs`` are the frames that are shown, spoilt as ``task`` says."""

    folder: Path
    pairs: Sequence[Pair]
    task: Task

    def draw(self, model: keras.Model) -> None:
        """Draw all of it anew. Raises OutputError."""
        plot_curves(read_metrics(self.folder), self.folder / "curves.png", score="PSNR", unit="PSNR, dB", top=None)
        if self.pairs:
            write_sheet(
                keras_restorer(model), spread(self.pairs, SHEET_ROWS), self.task, self.folder / "predictions.png"
            )
        write_report(self.folder)


def score_restorer(restore: Restorer, pairs: Sequence[Pair], task: Task) -> dict[str, float]:
    """Mean PSNR (dB) and SSIM over frames, each spoilt at the strength of tests: by every kind of the task.

    Keys are "PSNR", "SSIM" and "PSNR of the input" for the only kind of a task, and with several these after
    its name.
    """
    found: dict[str, float] = {}
    for kind in task.kinds or (None,):
        rows = []
        for pair in pairs:
            truth = whole(read_image(pair), task.factor)
            spoilt = shrink(truth, task.factor)
            if kind is not None:
                spoilt = kind.spoil(spoilt, kind.strength, generator_of(truth))
            picture = restore(spoilt)
            before = psnr(spoilt, truth) if task.factor == 1 else float("nan")
            rows.append((psnr(picture, truth), ssim(picture, truth), before))
        name = "" if kind is None or len(task.kinds) == 1 else f"{kind.spoil.__name__.strip('_')} "
        for key, value in zip(("PSNR", "SSIM", "PSNR of the input"), np.mean(rows, axis=0)):
            if np.isfinite(value):
                found[name + key] = round(float(value), 4)
    return found


def generator_of(image: Image) -> np.random.Generator:
    """Chance that belongs to a frame: it is spoilt alike whoever asks."""
    return np.random.default_rng(zlib.crc32(image.tobytes()))


def whole(image: Image, factor: int) -> Image:
    """The picture cut to sides that divide by ``factor``."""
    height, width = image.shape[:2]
    return image[: height // factor * factor, : width // factor * factor]


def spread(pairs: Sequence[Pair], count: int) -> list[Pair]:
    """At most ``count`` of them, evenly spread."""
    return [pairs[i] for i in np.unique(np.linspace(0, len(pairs) - 1, min(count, len(pairs))).astype(int))]


def write_sheet(restore: Restorer, pairs: Sequence[Pair], task: Task, path: Path) -> None:
    """A row a frame: the input, what the network makes of it, the truth; a PNG.

    Raises:
        SourceError: a frame cannot be read.
        OutputError: the file cannot be written.
    """
    rows = []
    for pair in pairs:
        truth = whole(read_image(pair), task.factor)
        random = generator_of(truth)
        spoilt = shrink(truth, task.factor)
        if task.kinds:
            kind = task.kinds[0]
            spoilt = kind.spoil(spoilt, kind.strength, random)
        height, width = truth.shape[:2]
        shown = np.asarray(cv2.resize(spoilt, (width, height), interpolation=cv2.INTER_NEAREST), np.uint8)
        rows.append([_fitting(picture) for picture in (shown, restore(spoilt), truth)])
    width = max(row[0].shape[1] for row in rows)
    lines = [np.hstack([_filled(cell, width) for cell in row]) for row in rows]
    _, content = cv2.imencode(".png", np.vstack(lines))
    write_whole(path, content.tobytes())


def _fitting(image: Image) -> Image:
    scale = min(1.0, _WIDEST / image.shape[1])
    if scale == 1.0:
        return image
    size = round(image.shape[1] * scale), round(image.shape[0] * scale)
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def _filled(image: Image, width: int) -> Image:
    return np.pad(image, ((0, 0), (0, width - image.shape[1]), (0, 0)))
