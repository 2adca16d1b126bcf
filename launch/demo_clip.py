"""The clip that the demo runs on where no other is given, and the exact truth of its every pixel."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from perception.client import ReceivedScene
from perception.errors import SourceError
from perception.files import save_png
from perception.synth import Street
from perception.types import VOID, Size
from perception.view.overlay import nearest
from perception.view.video import VideoWriter

CLIP_FRAMES = 300
SIZE: Size = (1280, 720)
FPS = 30.0
SEED = 2026  # a street that no network was trained on


def render_clip(path: Path, truth: Path, frames: int, show: Callable[[str], None]) -> None:
    """Write the video and, into the folder ``truth``, one 8-bit PNG of class ids a frame."""
    truth.mkdir(parents=True, exist_ok=True)
    for old in truth.glob("*.png"):
        old.unlink()
    street = Street(SEED, SIZE, FPS)
    with VideoWriter(path, fps=FPS) as video:
        for number in range(frames):
            rendered = street.render(number)
            video.write(rendered.image, 0)
            save_png(truth_file(truth, number), rendered.labels)
            show(f"rendering a street: {number + 1}/{frames} frames")


def truth_file(truth: Path, number: int) -> Path:
    """Where the class ids of a frame are kept."""
    return truth / f"{number:06}.png"


@dataclass(frozen=True, slots=True)
class Score:
    """How well label maps agree with the truth."""

    mean_iou: float  # over the classes that occur in the truth
    classes: int


def score(scenes: Sequence[ReceivedScene], truth: Path) -> Score:
    """Compare every received label map with the truth, at the truth's own size; void does not count.

    Raises:
        SourceError: the truth of a frame is missing.
    """
    confusion = np.zeros((256, 256), np.int64)  # rows truth, columns prediction
    for scene in scenes:
        file, labels = truth_file(truth, scene.number), scene.labels
        if labels is None:
            continue
        wanted = cv2.imread(str(file), cv2.IMREAD_UNCHANGED) if file.exists() else None
        if wanted is None:
            raise SourceError(
                f"The truth of frame {scene.number} is missing: there is no image {str(file)!r}. Another demo may use "
                "the same folder: give each its own with --out."
            )
        given = nearest(labels, scene.info.to_source, wanted.shape[1], wanted.shape[0])
        pairs = wanted.astype(np.uint16) << 8 | given
        confusion += np.bincount(pairs.ravel(), minlength=65536).reshape(256, 256)
    confusion[VOID] = 0
    hit, wanted_total = np.diag(confusion), confusion.sum(axis=1)
    union = wanted_total + confusion.sum(axis=0) - hit
    present = wanted_total > 0
    return Score(float((hit[present] / union[present]).mean()) if present.any() else 0.0, int(present.sum()))
