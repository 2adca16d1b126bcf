"""Text that stays readable on any footage: white on a dark plate, sized by the frame."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from perception.types import Image

PLATE = (24, 20, 18)  # BGR: nearly black, a little blue
INK = (245, 245, 245)
FAINT = (175, 170, 165)

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_PIXELS_PER_TEXT = 46  # the shorter side of a frame is 46 capital letters high
_SMALLEST = 11  # capital letters lower than this are guessed, not read


def text_height(width: int, height: int) -> int:
    """The height of a capital letter, in pixels, for a frame of this size."""
    return max(_SMALLEST, round(min(width, height) / _PIXELS_PER_TEXT))


@lru_cache(maxsize=4096)  # drawing costs 0.1 ms, copying 2 us: classes and scores repeat from frame to frame
def plate(text: str, height: int, accent: tuple[int, int, int] | None = None, ink: tuple[int, int, int] = INK) -> Image:
    """One line of text on a dark plate, a bar of colour ``accent`` at its left; (h, w, 3) u8 BGR, read-only."""
    scale, thickness = cv2.getFontScaleFromHeight(_FONT, height), 1 if height < 18 else 2
    (width, _), below = cv2.getTextSize(text, _FONT, scale, thickness)
    margin = plate_margin(height)
    bar = 0 if accent is None else max(3, height // 3)
    drop = max(margin, round(below * 0.75))  # the tails of p and g
    image = np.full((height + margin + drop, bar + width + 2 * margin, 3), PLATE, np.uint8)
    if accent is not None:
        image[:, :bar] = accent
    cv2.putText(image, text, (bar + margin, margin + height), _FONT, scale, ink, thickness, cv2.LINE_AA)
    image.flags.writeable = False
    return image


def plate_margin(height: int) -> int:
    """Pixels between the edge of a plate and its text."""
    return max(3, round(height * 0.4))


def paste(canvas: Image, patch: Image, x: int, y: int) -> None:
    """Copy ``patch`` onto ``canvas`` with its top left corner at (x, y), cut off at the canvas's edges."""
    height, width = canvas.shape[:2]
    x0, y0 = max(0, x), max(0, y)
    x1, y1 = min(width, x + patch.shape[1]), min(height, y + patch.shape[0])
    if x0 < x1 and y0 < y1:
        canvas[y0:y1, x0:x1] = patch[y0 - y : y1 - y, x0 - x : x1 - x]
