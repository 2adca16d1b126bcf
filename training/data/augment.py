"""Augmentation of an image and its label map: one warp, then changes of light and of camera.

Numpy and OpenCV only, driven by one ``numpy.random.Generator``, so that a sample depends on its seed
and on nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from perception.types import VOID, Image, LabelMap, Size

# CamVid and KITTI filled with this grey outside the frame: near the ImageNet mean.
BORDER_BGR = (104, 116, 124)
LABEL_STRIDE = 2
# Training label values (see taxonomy) that cover little of a street: fence, pole, light, sign, person, rider,
# truck to bicycle, and CamVid's sets of signs and of riders with their bicycles.
RARE_VALUES = np.array([4, 5, 6, 7, 11, 12, 14, 15, 16, 17, 18, 25, 29], np.uint8)
_ALIASING = 0.75


@dataclass(frozen=True, slots=True)
class Augmentation:
    """What may happen to a training sample; every field is a probability or a range."""

    scale: tuple[float, float] = (0.5, 2.0)  # log-uniform
    aspect: float = 0.1  # relative change of width against height
    rotate_degrees: float = 3.0
    flip: float = 0.5
    rare: float = 0.3  # crops centred on a pixel of a rare class
    color: float = 0.8
    dark: float = 0.15
    blur: float = 0.1
    noise: float = 0.15
    jpeg: float = 0.15


def augment(
    image: Image, labels: LabelMap, size: Size, rule: Augmentation, random: np.random.Generator
) -> tuple[Image, LabelMap]:
    """A random crop of ``size`` (w, h) of the randomly scaled, rotated, flipped and re-lit sample.

    Image (H, W, 3) u8 and labels (H, W) u8 in. Out: the image at ``size``, and the labels at
    ``size // LABEL_STRIDE``, where the network gives its logits: a loss there costs a quarter of one at
    full size. Labels are sampled where the logits' pixels have their centres; outside is void.
    """
    height, width = labels.shape
    anchor = _rare_pixel(labels, random) if random.random() < rule.rare else None
    matrix, minified = _random_affine((width, height), size, rule, anchor, random)
    if minified < _ALIASING:  # bilinear sampling of a minified image aliases; a blur stands in for area averaging
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), 0.5 / minified), np.uint8)
    warped = cv2.warpAffine(image, matrix, size, flags=cv2.INTER_LINEAR, borderValue=BORDER_BGR)
    centre = (1 / LABEL_STRIDE - 1) / 2
    onto_logits = matrix / LABEL_STRIDE + np.array([[0, 0, centre], [0, 0, centre]])
    label_size = (size[0] // LABEL_STRIDE, size[1] // LABEL_STRIDE)
    warped_labels = cv2.warpAffine(labels, onto_logits, label_size, flags=cv2.INTER_NEAREST, borderValue=VOID)
    return _photometric(np.asarray(warped, np.uint8), rule, random), np.asarray(warped_labels, np.uint8)


def _random_affine(
    source: Size,
    size: Size,
    rule: Augmentation,
    anchor: npt.NDArray[np.float64] | None,
    random: np.random.Generator,
) -> tuple[npt.NDArray[np.float64], float]:
    """A 2x3 matrix from source to crop pixels, and by how much it scales horizontally.

    The crop lies about ``anchor`` (x, y), if one is given, as far as the source allows.
    """
    width, height = source
    scale = float(np.exp(random.uniform(*np.log(rule.scale))))
    stretch = float(np.exp(random.uniform(-rule.aspect, rule.aspect) / 2))
    sx, sy = scale * stretch, scale / stretch
    if random.random() < rule.flip:
        sx = -sx
    angle = np.deg2rad(random.uniform(-rule.rotate_degrees, rule.rotate_degrees))
    linear = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) @ np.diag([sx, sy])
    # The crop's centre: anywhere where the crop stays inside the scaled image, its middle where it cannot.
    free = np.maximum(0, [width - size[0] / abs(sx), height - size[1] / abs(sy)])
    middle = np.array([width, height]) / 2
    wish = middle + (random.random(2) - 0.5) * free
    if anchor is not None:
        wish = anchor + random.uniform(-0.25, 0.25, 2) * np.array(size) / abs(np.array([sx, sy]))
    centre = np.clip(wish, middle - free / 2, middle + free / 2)
    matrix = np.hstack([linear, (np.array(size)[:, None] - 1) / 2 - linear @ (centre[:, None] - 0.5)])
    return matrix, abs(sx)


def _rare_pixel(labels: LabelMap, random: np.random.Generator) -> npt.NDArray[np.float64] | None:
    """(x, y) of a pixel of a randomly chosen rare class that is in the picture; None if there is none."""
    thinned = labels[::4, ::4]
    present = np.intersect1d(np.unique(thinned), RARE_VALUES)
    if not present.size:
        return None
    rows, columns = np.nonzero(thinned == random.choice(present))
    pick = int(random.integers(len(rows)))
    return np.array([columns[pick], rows[pick]], np.float64) * 4


def _photometric(image: Image, rule: Augmentation, random: np.random.Generator) -> Image:
    if random.random() < rule.color:
        image = _recolor(image, random)
    if random.random() < rule.dark:
        image = _tone(image, gain=random.uniform(0.25, 0.7), gamma=random.uniform(1.0, 1.6))
    if random.random() < rule.blur:
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), random.uniform(0.4, 1.4)), np.uint8)
    if random.random() < rule.noise:
        noise = random.normal(0, random.uniform(2, 12), image.shape)
        image = np.clip(image + noise, 0, 255).astype(np.uint8)
    if random.random() < rule.jpeg:
        _, code = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, int(random.integers(30, 85))])
        image = np.asarray(cv2.imdecode(code, cv2.IMREAD_COLOR), np.uint8)
    return image


def _recolor(image: Image, random: np.random.Generator) -> Image:
    hsv = cv2.cvtColor(image, cv2.COLOR_BGR2HSV)
    hue = np.uint8(random.integers(-8, 9) % 180)
    saturation = random.uniform(0.6, 1.4)
    turned = (np.arange(256) + int(hue)) % 180
    hsv[..., 0] = cv2.LUT(hsv[..., 0], turned.astype(np.uint8))
    hsv[..., 1] = cv2.convertScaleAbs(hsv[..., 1], alpha=saturation)
    image = np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR), np.uint8)
    balance = random.uniform(0.92, 1.08, 3)
    return _tone(image, gain=random.uniform(0.65, 1.4) * balance, gamma=random.uniform(0.75, 1.35))


def _tone(image: Image, gain: float | npt.NDArray[np.float64], gamma: float) -> Image:
    """255 (gain x / 255)^gamma, per channel, through a table."""
    ramp = np.clip(np.arange(256)[:, None] / 255 * np.broadcast_to(gain, 3), 0, 1) ** gamma * 255
    table = np.round(ramp).astype(np.uint8)[:, None, :]
    return np.asarray(cv2.LUT(image, table), np.uint8)
