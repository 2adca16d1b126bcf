"""The clip that benchmarks run on: a rendered street, or a given video brought to 1280x720 and repeated."""

from __future__ import annotations

import hashlib
from itertools import cycle, islice
from pathlib import Path

import cv2

from perception.ledger import Ledger
from perception.sources import open_source
from perception.synth import Street
from perception.types import Image, Size
from perception.view.video import VideoWriter

SIZE: Size = (1280, 720)
FPS = 30.0
SEED = 2027
RENDERED_FRAMES = 150  # rendering is slow; longer clips play these there and back


def prepare_clip(folder: Path, frames: int, source: str | None) -> Path:
    """An H.264 file of ``frames`` frames at 1280x720; made once, then found again."""
    identity = hashlib.sha256((source or f"street {SEED}").encode()).hexdigest()[:8]
    path = folder / f"clip_{identity}_{frames}.mp4"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        images = _read(source) if source else _render()
        with VideoWriter(path, fps=FPS) as video:
            for image in islice(cycle(images + images[::-1]), frames):
                video.write(image, 0)
    return path


def _render() -> list[Image]:
    street = Street(SEED, SIZE, FPS)
    return [street.render(number).image for number in range(RENDERED_FRAMES)]


def _read(source: str) -> list[Image]:
    frames = islice(open_source(source).frames(Ledger()), RENDERED_FRAMES)
    return [cv2.resize(frame.image, SIZE, interpolation=cv2.INTER_AREA) for frame in frames]
