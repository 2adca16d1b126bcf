"""From a decoded picture to the image of a Frame: right colours, upright, 8 bits BGR."""

from __future__ import annotations

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter

from perception.types import Image

_MATRIX = {1: Colorspace.ITU709, 4: Colorspace.FCC, 5: Colorspace.ITU601, 6: Colorspace.ITU601}
_MATRIX |= {7: Colorspace.SMPTE240M, 9: Colorspace.BT2020, 10: Colorspace.BT2020}

# FFmpeg counts display rotation counter-clockwise; in quarter turns.
_TURNS = {90: 1, 180: 2, -180: 2, -90: 3}


class Converter:
    """Turns pictures of one stream into images; keeps the scaler's tables between them.

    swscale and not cv2.cvtColor, which knows only the BT.601 matrix (up to 20 of 255 wrong on HD video)
    and needs a copy of the planes first. One thread: the cores belong to inference.
    """

    def __init__(self) -> None:
        self._reformatter = VideoReformatter()

    def image(self, picture: av.VideoFrame) -> Image:
        """(H, W, 3) u8 BGR, turned upright as the rotation metadata asks. Rows may be padded in memory."""
        bgr = self._reformatter.reformat(
            picture,
            format="bgr24",
            src_colorspace=matrix(picture.colorspace, picture.width, picture.height),
            dst_colorspace=Colorspace.ITU709,  # without meaning for RGB, but swscale wants one
            src_color_range=ColorRange.JPEG if full_range(picture) else ColorRange.MPEG,
            dst_color_range=ColorRange.JPEG,
            threads=1,
        )
        plane = bgr.planes[0]
        rows = np.frombuffer(memoryview(plane), np.uint8).reshape(bgr.height, plane.line_size)
        image: Image = rows[:, : bgr.width * 3].reshape(bgr.height, bgr.width, 3)
        turns = _TURNS.get(round(picture.rotation / 90) * 90)
        return image if turns is None else _turned(image, turns)


def matrix(colorspace: int, width: int, height: int) -> Colorspace:
    """The tagged matrix; where the stream has none, BT.709 for HD and BT.601 below, as video players do."""
    untagged = Colorspace.ITU709 if width >= 1280 or height > 576 else Colorspace.ITU601
    return _MATRIX.get(int(colorspace), untagged)


def full_range(picture: av.VideoFrame) -> bool:
    """Whether luma runs from 0 to 255 and not from 16 to 235."""
    return picture.format.is_rgb or picture.color_range == ColorRange.JPEG


def _turned(image: Image, turns: int) -> Image:
    import cv2  # takes a second to load, which the process of a camera without rotation need not wait for

    codes = {1: cv2.ROTATE_90_COUNTERCLOCKWISE, 2: cv2.ROTATE_180, 3: cv2.ROTATE_90_CLOCKWISE}
    return cv2.rotate(image, codes[turns]).astype(np.uint8, copy=False)
