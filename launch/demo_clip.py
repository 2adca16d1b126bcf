"""The clip that the demo runs on where no other is given, and the exact truth of its every pixel."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from perception.client import ReceivedScene
from perception.types import VOID, Image, LabelMap, Size
from perception.view.files import save_png
from perception.view.overlay import nearest
from perception.view.video import VideoWriter

CLIP_FRAMES = 300
SIZE: Size = (1280, 720)
FPS = 30.0
SKY, BUILDING, ROAD, CAR = 10, 2, 0, 13


def render_clip(path: Path, truth: Path, frames: int, show: Callable[[str], None]) -> None:
    """Write the video and, into the folder ``truth``, one 8-bit PNG of class ids a frame."""
    truth.mkdir(parents=True, exist_ok=True)
    for old in truth.glob("*.png"):
        old.unlink()
    with VideoWriter(path, fps=FPS) as video:
        for number, (image, labels) in enumerate(moving_shapes(frames)):
            video.write(image, 0)
            save_png(truth_file(truth, number), labels)
            show(f"rendering a street: {number + 1}/{frames} frames")


def truth_file(truth: Path, number: int) -> Path:
    """Where the class ids of a frame are kept."""
    return truth / f"{number:06}.png"


def moving_shapes(frames: int) -> Iterator[tuple[Image, LabelMap]]:
    """Frames of a road between houses on which boxes drive, and the class of every pixel."""
    width, height = SIZE
    grain = np.random.default_rng(1).normal(0, 6, (height, width, 1))
    for number in range(frames):
        labels = np.full((height, width), SKY, np.uint8)
        for block in range(-1, 12):
            left = block * 150 - number * 3 % 150
            top = 120 + (block * 67 + number * 3 // 150 * 67) % 160
            cv2.rectangle(labels, (left, top), (left + 130, 400), BUILDING, -1)
        cv2.fillPoly(labels, [np.array([(0, height), (560, 400), (720, 400), (width, height)], np.int32)], ROAD)
        for car in range(3):
            x, y = (200 + 420 * car + 5 * number) % (width + 200) - 200, 440 + 60 * car
            cv2.rectangle(labels, (x, y), (x + 160 + 20 * car, y + 80), CAR, -1)
        colours = np.zeros((256, 3), np.uint8)
        colours[[SKY, BUILDING, ROAD, CAR]] = (235, 206, 160), (90, 110, 130), (96, 96, 96), (40, 40, 160)
        image = cv2.applyColorMap(labels, colours.reshape(256, 1, 3)) + grain
        yield np.clip(image, 0, 255).astype(np.uint8), labels


@dataclass(frozen=True, slots=True)
class Score:
    """How well label maps agree with the truth."""

    mean_iou: float  # over the classes that occur in the truth
    classes: int


def score(scenes: Sequence[ReceivedScene], truth: Path) -> Score:
    """Compare every received label map with the truth, at the truth's own size; void does not count."""
    confusion = np.zeros((256, 256), np.int64)  # rows truth, columns prediction
    for scene in scenes:
        wanted, labels = cv2.imread(str(truth_file(truth, scene.number)), cv2.IMREAD_UNCHANGED), scene.labels
        if wanted is None or labels is None:
            continue
        given = nearest(labels, scene.info.to_source, wanted.shape[1], wanted.shape[0])
        pairs = wanted.astype(np.uint16) << 8 | given
        confusion += np.bincount(pairs.ravel(), minlength=65536).reshape(256, 256)
    confusion[VOID] = 0
    hit, wanted_total = np.diag(confusion), confusion.sum(axis=1)
    union = wanted_total + confusion.sum(axis=0) - hit
    present = wanted_total > 0
    return Score(float((hit[present] / union[present]).mean()) if present.any() else 0.0, int(present.sum()))
