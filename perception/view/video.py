"""Writes H.264 video that browsers play: High profile, yuv420p, BT.709, the index in front of the data."""

from __future__ import annotations

import statistics
from collections import deque
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import av
import cv2
import numpy as np

from perception.errors import ConfigError
from perception.files import cannot_write, check_folder, temporary_beside
from perception.types import Image, Size
from perception.view.text import PLATE

TICKS = 90_000  # a second, as MPEG has always counted it

_STALL_NS = 1_000_000  # a frame whose time does not advance is shown this much after the one before
_REWIND_NS = 1_000_000_000  # time that falls back further than this is a clip that started again
_BT709 = 1
_LIMITED_RANGE = 1
_USUAL_STEPS = 32
_QUALITY = "20"  # x264's constant rate factor: drawn lines stay sharp


class Timeline:
    """Turns the frames' own times into presentation times that always advance, from 0.

    Small disorder is clamped: a frame that is due before its predecessor follows it by a millisecond.
    Where time falls back by more than a second, the rest continues one usual step later.
    """

    def __init__(self) -> None:
        self._shift: int | None = None
        self._last = -1
        self._steps: deque[int] = deque(maxlen=_USUAL_STEPS)

    def place(self, time_ns: int) -> int:
        """The presentation time of the next frame, nanoseconds."""
        if self._shift is None:
            self._shift = -time_ns
        due = time_ns + self._shift
        if self._last < 0:
            self._last = due
            return due
        if due < self._last - _REWIND_NS:
            self._shift += self._last + self.usual_step() - due
            due = self._last + self.usual_step()
        due = max(due, self._last + _STALL_NS)
        self._steps.append(due - self._last)
        self._last = due
        return due

    def usual_step(self) -> int:
        """The median time between frames of late, nanoseconds; 1/25 s before there were two."""
        return int(statistics.median(self._steps)) if self._steps else 40_000_000


class VideoWriter:
    """Writes frames to an MP4 file, which appears under its name, whole, when the writer is closed.

    Leaving the ``with`` block by Ctrl-C or by an error from elsewhere keeps what was written so far. A
    failure of the writer itself (disk full) leaves an existing file of that name as it was.

    Raises:
        ConfigError: the file is not called .mp4, or its folder does not exist.
        OutputError: the folder cannot be written to, or the disk is full.
    """

    def __init__(self, path: Path, *, fps: float | None = None, nominal_fps: float | None = None) -> None:
        """``fps`` replaces the frames' own times; ``nominal_fps`` only helps the encoder to plan its bit rate."""
        check_video_path(path)
        self.path = path
        self.frames = 0
        self._step_ns = round(1e9 / fps) if fps else None
        self._nominal = fps or nominal_fps or 30.0
        self._timeline = Timeline()
        self._pts_ns = 0
        self._size: Size | None = None
        self._stream: Any = None
        self.failed = False
        self._temporary = temporary_beside(path)
        try:
            self._container: Any = av.open(str(self._temporary), "w", format="mp4", options={"movflags": "+faststart"})
        except (av.FFmpegError, OSError) as error:
            self._temporary.unlink(missing_ok=True)
            raise cannot_write(path, error) from error

    @property
    def size(self) -> Size:
        """(width, height) of the video, sides even; (0, 0) before the first frame."""
        return (0, 0) if self._size is None else (self._size[0] + self._size[0] % 2, self._size[1] + self._size[1] % 2)

    @property
    def duration_s(self) -> float:
        """Seconds that the video plays: to the end of its last frame."""
        return (self._pts_ns + self._usual_ns()) / 1e9 if self.frames else 0.0

    def write(self, image: Image, time_ns: int) -> None:
        """Append one (H, W, 3) u8 BGR frame, which was taken at this time.

        The first frame gives the video its size, odd sides padded by a pixel; later frames of another
        size are fitted into it.

        Raises:
            OutputError: the disk is full.
        """
        height, width = image.shape[:2]
        if self._size is None:
            self._open_stream((width, height))
        elif self._size != (width, height):
            image = fitted(image, self._size)
        self._pts_ns = self._timeline.place(time_ns) if self._step_ns is None else self.frames * self._step_ns
        frame = av.VideoFrame.from_ndarray(_even(image), format="bgr24")
        frame = frame.reformat(format="yuv420p", dst_colorspace="ITU709", dst_color_range="MPEG")
        frame.pts = round(self._pts_ns * TICKS / 1e9)
        frame.time_base = Fraction(1, TICKS)
        self._mux(frame)
        self.frames += 1

    def close(self) -> None:
        """Finish the file and give it its name; without a single frame there is no file. May be called twice.

        Raises:
            OutputError: the disk is full; nothing is left behind.
        """
        if self._container is None:
            return
        try:
            if self._stream is not None and not self.failed:
                self._mux(None)
            self._close_container()
            if self.frames and not self.failed:
                self._temporary.replace(self.path)
        finally:
            self._container = None
            self._temporary.unlink(missing_ok=True)

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _usual_ns(self) -> int:
        return self._step_ns or self._timeline.usual_step()

    def _open_stream(self, size: Size) -> None:
        self._size = size
        stream = self._container.add_stream("libx264", rate=Fraction(self._nominal).limit_denominator(1001))
        stream.width, stream.height = self.size
        stream.pix_fmt = "yuv420p"
        stream.time_base = Fraction(1, TICKS)
        context = stream.codec_context
        context.time_base = Fraction(1, TICKS)
        context.color_primaries = context.color_trc = context.colorspace = _BT709
        context.color_range = _LIMITED_RANGE
        # No B-frames: times then start at 0 without an edit list, which some players ignore.
        context.options = {"preset": "veryfast", "crf": _QUALITY, "profile": "high", "bf": "0"}
        self._stream = stream

    def _mux(self, frame: Any) -> None:
        try:
            for packet in self._stream.encode(frame):
                packet.duration = round(self._usual_ns() * TICKS / 1e9)  # counts for the last frame alone
                self._container.mux(packet)
        except (av.FFmpegError, OSError) as error:
            self.failed = True
            raise cannot_write(self.path, error) from error

    def _close_container(self) -> None:
        try:
            self._container.close()
        except (av.FFmpegError, OSError) as error:
            if not self.failed:
                self.failed = True
                raise cannot_write(self.path, error) from error


def check_video_path(path: Path) -> None:
    """Raise ConfigError unless a video of this name can be asked for."""
    if path.suffix.lower() != ".mp4":
        raise ConfigError(f"Cannot write a video to {str(path)!r}: the name must end in .mp4 (--sheet writes a .png).")
    check_folder(path)


def fitted(image: Image, size: Size) -> Image:
    """The image, scaled to fit into (width, height) and centred on a dark ground."""
    width, height = size
    scale = min(width / image.shape[1], height / image.shape[0])
    w, h = max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))
    canvas = np.full((height, width, 3), PLATE, np.uint8)
    y, x = (height - h) // 2, (width - w) // 2
    canvas[y : y + h, x : x + w] = cv2.resize(image, (w, h), interpolation=cv2.INTER_AREA)
    return canvas


def _even(image: Image) -> Image:
    bottom, right = image.shape[0] % 2, image.shape[1] % 2
    if not (bottom or right):
        return np.ascontiguousarray(image)
    return np.asarray(cv2.copyMakeBorder(image, 0, bottom, 0, right, cv2.BORDER_REPLICATE), np.uint8)
