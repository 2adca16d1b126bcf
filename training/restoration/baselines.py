"""What is done without learning: the methods that a network has to be better than."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np

from perception.types import Image
from training.metrics.picture import psnr

Method = Callable[[Image], Image]
Pairs = Sequence[tuple[Image, Image]]  # (spoilt, truth)

BLURS = tuple(round(0.6 + 0.1 * step, 1) for step in range(12))  # sigma, pixels
STRENGTHS = (10, 14, 18, 22, 26, 30)  # h of non-local means, grey levels


def gaussian_blur(sigma: float) -> Method:
    """A Gaussian filter of ``sigma`` pixels."""
    return lambda image: np.asarray(cv2.GaussianBlur(image, (0, 0), sigma), np.uint8)


def non_local_means(h: float) -> Method:
    """Non-local means (Buades, Coll, Morel 2005) as OpenCV does it for colours, in patches of 7 and windows of 21."""
    return lambda image: np.asarray(cv2.fastNlMeansDenoisingColored(image, None, h, h, 7, 21), np.uint8)


def brightened(image: Image) -> Image:
    """A dark frame multiplied, in every channel alike, to the mean brightness of a day: 100."""
    return np.asarray(np.clip(image * (100 / max(float(image.mean()), 1.0)) + 0.5, 0, 255), np.uint8)


def enlarged(how: int) -> Method:
    """Twice as large, by one of OpenCV's interpolations."""
    return lambda image: np.asarray(cv2.resize(image, None, fx=2, fy=2, interpolation=how), np.uint8)


def bicubic(image: Image) -> Image:
    """Twice as large, with the kernel of Keys 1981 (a = -0.5); OpenCV's bicubic has a = -0.75."""
    from PIL import Image as Pillow

    size = 2 * image.shape[1], 2 * image.shape[0]
    return np.asarray(Pillow.fromarray(image).resize(size, Pillow.Resampling.BICUBIC), np.uint8)


def best(make: Callable[[float], Method], values: Sequence[float], pairs: Pairs) -> tuple[float, Method]:
    """The value with the highest mean PSNR on these frames, and its method: the most that the method can do."""
    scores = [float(np.mean([psnr(make(value)(spoilt), truth) for spoilt, truth in pairs])) for value in values]
    value = values[int(np.argmax(scores))]
    return value, make(value)
