"""Clips for tests, encoded on the spot."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

WIDTH, HEIGHT = 160, 96
MILLISECONDS = Fraction(1, 1000)
_GROUPS_WITH_B_FRAMES = {"g": "12", "bf": "2", "crf": "18"}


def clip(path: Path, times_ms: list[int], codec: str = "libx264", size: tuple[int, int] = (WIDTH, HEIGHT)) -> Path:
    """A clip whose picture k is a ramp plus 5 k, shown from times_ms[k] on."""
    ramp = np.add.outer(np.arange(size[1]) // 4, np.arange(size[0]) // 4)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options=_GROUPS_WITH_B_FRAMES if codec == "libx264" else {})
        stream.width, stream.height = size
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.codec_context.time_base = stream.time_base = MILLISECONDS
        for position, at in enumerate(times_ms):
            grey = ((ramp + 5 * position) % 200 + 20).astype(np.uint8)
            frame = av.VideoFrame.from_ndarray(np.dstack([grey] * 3), format="bgr24")
            frame.pts, frame.time_base = at, MILLISECONDS
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def steady(count: int, period_ms: int = 40) -> list[int]:
    return [position * period_ms for position in range(count)]
