"""Changes of light and of the camera: what they do to a picture, they do to every pixel alike."""

from __future__ import annotations

from statistics import NormalDist

import cv2
import numpy as np
import numpy.typing as npt

from perception.types import Image

# A random byte becomes a normal deviate through this table: several times as fast as drawing deviates.
_DEVIATES = np.array([NormalDist().inv_cdf((k + 0.5) / 256) for k in range(256)])


def recolor(image: Image, random: np.random.Generator) -> Image:
    """Another hue, saturation, white balance, exposure and gamma, each within what cameras differ by."""
    hsv = cv2.cvtColor(image, cv2.COLOR_BGR2HSV)
    hue = int(random.integers(-8, 9))
    saturation = random.uniform(0.6, 1.4)
    tables = np.empty((1, 256, 3), np.uint8)
    tables[0, :, 0] = (np.arange(256) + hue) % 180
    tables[0, :, 1] = np.clip(np.round(np.arange(256) * saturation), 0, 255)
    tables[0, :, 2] = np.arange(256)
    image = np.asarray(cv2.cvtColor(cv2.LUT(hsv, tables), cv2.COLOR_HSV2BGR), np.uint8)
    balance = random.uniform(0.92, 1.08, 3)
    return tone(image, gain=random.uniform(0.65, 1.4) * balance, gamma=random.uniform(0.75, 1.35))


def tone(image: Image, gain: float | npt.NDArray[np.float64], gamma: float) -> Image:
    """255 (gain x / 255)^gamma, per channel, through a table."""
    ramp = np.clip(np.arange(256)[:, None] / 255 * np.broadcast_to(gain, 3), 0, 1) ** gamma * 255
    table = np.round(ramp).astype(np.uint8)[None]
    return np.asarray(cv2.LUT(image, table), np.uint8)


def add_noise(image: Image, sigma: float, random: np.random.Generator) -> Image:
    """Normal noise, independent in every value; ``sigma`` in grey levels."""
    bits = np.frombuffer(random.bytes(image.size), np.uint8).reshape(image.shape)
    noise = cv2.LUT(bits, np.round(_DEVIATES * sigma).astype(np.int16))
    return np.asarray(cv2.add(image, noise, dtype=cv2.CV_8U), np.uint8)


def motion_blur(image: Image, random: np.random.Generator) -> Image:
    """The mean along a short line: a camera that turned while its shutter was open, mostly sideways."""
    length = int(random.integers(3, 10))
    middle = (length - 1) / 2
    angle = random.normal(0, 0.35)
    along = np.array([np.cos(angle), np.sin(angle)]) * middle
    kernel = np.zeros((length, length), np.float32)
    ends = np.round([middle - along, middle + along]).astype(int)
    cv2.line(kernel, ends[0].tolist(), ends[1].tolist(), 1.0)
    return np.asarray(cv2.filter2D(image, -1, kernel / kernel.sum()), np.uint8)


def jpeg(image: Image, quality: int) -> Image:
    """The picture after JPEG compression of this quality, 1 to 100."""
    _, code = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(code, cv2.IMREAD_COLOR), np.uint8)
