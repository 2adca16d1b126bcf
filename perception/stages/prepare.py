"""Prepare: bring a camera frame to network size. The one step of a model that is outside its graph."""

from __future__ import annotations

import cv2
import numpy as np

from perception.types import Image, Size


def prepare(image: Image, size: Size) -> Image:
    """Resize a frame to (w, h): averaging areas when it shrinks, bilinear when it grows, no letterbox.

    A frame that shrinks in one direction and grows in the other is resized bilinearly. A frame of that
    size already is returned as it is, not copied.

    Args:
        image: (H, W, 3) u8.

    Returns:
        (h, w, 3) u8.
    """
    height, width = image.shape[:2]
    if (width, height) == size:
        return image
    shrinks = size[0] <= width and size[1] <= height
    resized = cv2.resize(image, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    return np.asarray(resized, np.uint8)
