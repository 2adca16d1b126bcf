"""Folders of images, patterns and single images, in the order in which a person would count them."""

from __future__ import annotations

import glob
import re
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from perception.errors import SourceError, SourceNotFound
from perception.ledger import Ledger
from perception.sources.jump import Jump, Place, index_of
from perception.sources.pacing import pacer
from perception.sources.source import Pace
from perception.types import Frame, Image

IMAGE_SUFFIXES = frozenset(
    {".bmp", ".jp2", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp"}
)
REAL_PACE_FPS = 10.0  # images carry no times; under pace "real" they come at this rate

# OpenCV 4 fills what a cut-off JPEG or PNG lacks with grey and says nothing; a whole one has an end mark.
_END_MARKS = {b"\xff\xd8\xff": b"\xff\xd9", b"\x89PNG": b"IEND"}


class ImageFiles:
    """Image files as a stream without media times. Sizes may change from one image to the next.

    EXIF rotation is honoured; grey, 16-bit and transparent images become 8-bit BGR. An image that cannot
    be read is captured and dropped as ``decode_error``, and SourceError at the end names the first one.
    """

    live = False

    def __init__(self, uri: str, paths: Sequence[Path], stream: str, pace: Pace, rate: float | None) -> None:
        self.uri = uri
        self.fps = REAL_PACE_FPS if pace == "real" else None
        self.promised: int | None = len(paths)
        self._paths = tuple(paths)
        self._stream = stream
        self._pace = pace
        self._rate = rate
        self._closed = threading.Event()
        self._jump = Jump()

    def frames(self, ledger: Ledger) -> Iterator[Frame]:
        """The readable images in order; ``number`` counts the others too."""
        number = index = 0
        pace = pacer(self._pace, self._rate, self.fps, self._closed.wait)
        bad: dict[Path, None] = {}  # each once, however often it is sought
        while True:
            place = self._jump.take()
            if place is not None:
                index = self._index(place)
                pace = pacer(self._pace, self._rate, self.fps, self._closed.wait)
            if index >= len(self._paths):
                break
            path = self._paths[index]
            if not pace.wait(None, number) or self._closed.is_set():
                return
            time = pace.grab("media")
            ledger.capture(number)
            image = read_image(path)
            if image is None:
                ledger.drop(number, "decode_error")
                bad[path] = None
            else:
                yield Frame(self._stream, number, time, image)
            number, index = number + 1, index + 1
        if bad:
            raise SourceError(
                f"{len(bad)} of {len(self._paths)} images of {self.uri!r} could not be read, the first is"
                f" {str(next(iter(bad)))!r}. Replace or remove what is damaged."
            )

    def check(self, place: Place) -> None:
        """Whether there is that image; a time counts at the pace of images. See ``Seekable``."""
        self._index(place)

    def seek(self, place: Place) -> None:
        """Go on with that image. See ``Seekable``."""
        self.check(place)
        self._jump.ask(place)

    def close(self) -> None:
        """End the iteration before its next image."""
        self._closed.set()

    def _index(self, place: Place) -> int:
        return index_of(place, fps=self.fps, count=len(self._paths), uri=self.uri)


def read_image(path: Path) -> Image | None:
    """(H, W, 3) u8 BGR, upright; None where the file is no whole image."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    if not data or any(data.startswith(start) and end not in data for start, end in _END_MARKS.items()):
        return None
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:  # larger than OpenCV is willing to decode
        return None
    return None if image is None else image.astype(np.uint8, copy=False)


def folder_images(folder: Path) -> list[Path]:
    """The images directly in a folder. Raises SourceNotFound where there is none."""
    found = _images(folder.iterdir())
    if not found:
        raise SourceNotFound(f"The folder {str(folder)!r} holds no images ({_suffixes()}). Give one that does.")
    return found


def matching_images(pattern: str) -> list[Path]:
    """The images that match a shell pattern; ``**`` goes into sub-folders. Raises SourceNotFound for none."""
    matches = [Path(match) for match in glob.glob(pattern, recursive=True)]  # noqa: PTH207  Path.glob wants no absolute pattern
    found = _images(matches)
    if not found:
        others = f"{len(matches)} files, but no image ({_suffixes()})" if matches else "nothing"
        raise SourceNotFound(f"The pattern {pattern!r} matches {others}. Check it with ls.")
    return found


def natural_order(path: Path) -> tuple[list[str | int], str]:
    """A sort key that puts frame2 before frame10; names that differ only in leading zeros stay apart."""
    parts = re.split(r"(\d+)", str(path))  # text and digits in turn, so that equal positions compare
    return [int(part) if position % 2 else part for position, part in enumerate(parts)], str(path)


def _images(paths: Iterator[Path] | list[Path]) -> list[Path]:
    images = (p for p in paths if p.suffix.lower() in IMAGE_SUFFIXES and not p.name.startswith(".") and p.is_file())
    return sorted(images, key=natural_order)


def _suffixes() -> str:
    return " ".join(sorted(IMAGE_SUFFIXES))
