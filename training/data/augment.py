"""Augmentation of an image and its label map: one warp, then changes of light, weather and camera.

Numpy and OpenCV only, driven by one ``numpy.random.Generator``, so that a sample depends on its seed
and on nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import cv2
import numpy as np
import numpy.typing as npt

from perception.errors import ConfigError
from perception.types import VOID, Image, LabelMap, Size
from training.data.photometric import add_noise, jpeg, motion_blur, recolor, tone
from training.data.taxonomy import values_within
from training.data.weather import dusk, fog, night, rain

# CamVid and KITTI filled with this grey outside the frame: near the ImageNet mean.
BORDER_BGR = (104, 116, 124)
LABEL_STRIDE = 2
# Label values that cover little of a street: fence, pole, light, sign, person, rider, truck to bicycle, and
# the coarse sets of these.
RARE_VALUES = values_within((4, 5, 6, 7, 11, 12, 14, 15, 16, 17, 18))
HORIZON = 0.45  # share of a frame's height above it: near enough in all the data sets
_ALIASING = 0.75
Value = TypeVar("Value", np.uint8, np.uint16)


@dataclass(frozen=True, slots=True)
class Augmentation:
    """What may happen to a training sample; every field is a probability or a range."""

    scale: tuple[float, float] = (0.5, 2.0)  # log-uniform
    aspect: float = 0.1  # relative change of width against height
    rotate_degrees: float = 3.0
    flip: float = 0.5
    rare: float = 0.3  # crops centred on a pixel of a rare class
    paste: float = 0.3  # rare objects from another sample
    color: float = 0.8
    rain: float = 0.05  # at most one of these four
    fog: float = 0.05
    dusk: float = 0.08
    night: float = 0.04
    dark: float = 0.12  # in none of them
    motion: float = 0.06
    blur: float = 0.1
    noise: float = 0.15
    jpeg: float = 0.15

    def __post_init__(self) -> None:
        if self.rain + self.fog + self.dusk + self.night > 1:
            raise ConfigError("The probabilities of rain, fog, dusk and night add up to more than 1.")


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """A crop of a scaled, rotated and flipped picture: every map of the picture is cut out by the same one."""

    size: Size  # (w, h) of the crop
    matrix: npt.NDArray[np.float64]  # 2x3, from the picture's pixels to the crop's
    minified: float  # by how much it scales horizontally
    height: int  # of the picture

    def of_image(self, image: Image) -> Image:
        """The crop of the picture (H, W, 3) u8 itself, with grey outside."""
        if self.minified < _ALIASING:  # bilinear sampling of a minified image aliases; a blur stands in for averaging
            image = np.asarray(cv2.GaussianBlur(image, (0, 0), 0.5 / self.minified), np.uint8)
        warped = cv2.warpAffine(image, self.matrix, self.size, flags=cv2.INTER_LINEAR, borderValue=BORDER_BGR)
        return np.asarray(warped, np.uint8)

    def of_map(self, values: npt.NDArray[Value], outside: int) -> npt.NDArray[Value]:
        """The crop of a map (H, W) u8 or u16 at ``size // LABEL_STRIDE``, where the network gives its logits.

        Values are sampled where the logits' pixels have their centres; ``outside`` stands where the picture ends.
        """
        centre = (1 / LABEL_STRIDE - 1) / 2
        onto_logits = self.matrix / LABEL_STRIDE + np.array([[0, 0, centre], [0, 0, centre]])
        size = (self.size[0] // LABEL_STRIDE, self.size[1] // LABEL_STRIDE)
        warped = cv2.warpAffine(values, onto_logits, size, flags=cv2.INTER_NEAREST, borderValue=outside)
        return np.asarray(warped, values.dtype)


def draw_view(labels: LabelMap, size: Size, rule: Augmentation, random: np.random.Generator) -> View:
    """A random crop of ``size`` (w, h), some about a pixel of a rare class of ``labels`` (H, W)."""
    height, width = labels.shape
    anchor = _rare_pixel(labels, random) if random.random() < rule.rare else None
    matrix, minified = _random_affine((width, height), size, rule, anchor, random)
    return View(size, matrix, minified, height)


def augment(
    image: Image, labels: LabelMap, size: Size, rule: Augmentation, random: np.random.Generator
) -> tuple[Image, LabelMap]:
    """A random crop of ``size`` (w, h) of the randomly scaled, rotated, flipped and re-lit sample.

    Image (H, W, 3) u8 and labels (H, W) u8 in. Out: the image at ``size``, and the labels at
    ``size // LABEL_STRIDE``: a loss there costs a quarter of one at full size. Outside is void.
    """
    view = draw_view(labels, size, rule, random)
    return relight(view.of_image(image), view, rule, random), view.of_map(labels, VOID)


def _below_horizon(view: View) -> npt.NDArray[np.float64]:
    """(h,) how far each row of the crop lies below the horizon: 0 there and above, 1 at the frame's lower edge."""
    (width, height), matrix = view.size, view.matrix
    rows = (np.arange(height) - matrix[1, 2] - matrix[1, 0] * width / 2) / matrix[1, 1]
    return np.asarray(np.clip((rows / view.height - HORIZON) / (1 - HORIZON), 0, 1), np.float64)


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


def relight(image: Image, view: View, rule: Augmentation, random: np.random.Generator) -> Image:
    """Light and weather, then the camera: blur, noise, compression. ``image`` is the crop that ``view`` cut out."""
    below_horizon = _below_horizon(view)
    if random.random() < rule.color:
        image = recolor(image, random)
    sky = random.random()
    limits = np.cumsum([rule.rain, rule.fog, rule.dusk, rule.night])
    if sky < limits[0]:
        image = rain(image, random)
    elif sky < limits[1]:
        image = fog(image, below_horizon, random)
    elif sky < limits[2]:
        image = dusk(image, random)
    elif sky < limits[3]:
        image = night(image, below_horizon, random)
    elif random.random() < rule.dark:
        image = tone(image, gain=random.uniform(0.25, 0.7), gamma=random.uniform(1.0, 1.6))
    if random.random() < rule.motion:
        image = motion_blur(image, random)
    if random.random() < rule.blur:
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), random.uniform(0.4, 1.4)), np.uint8)
    if random.random() < rule.noise:
        image = add_noise(image, random.uniform(2, 12), random)
    if random.random() < rule.jpeg:
        image = jpeg(image, int(random.integers(30, 85)))
    return image
