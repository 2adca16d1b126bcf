"""U-Net's border term: weights for what lies between objects that stand close together."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from perception.errors import ConfigError
from perception.types import LabelMap
from training.data.taxonomy import values_within

THINGS = values_within(range(11, 19))  # person to bicycle, and the coarse sets of these
STEPS = 16  # a weight of 1 in the bytes that travel with the labels
_REACH = 4.0  # in sigmas; the term is below w0 / 2900 beyond


@dataclass(frozen=True, slots=True)
class BorderTerm:
    """``strength`` exp(-(d1 + d2)^2 / (2 ``sigma``^2)), with d1 and d2 the distances to the two nearest objects.

    Ronneberger, Fischer, Brox 2015, "U-Net", equation 2, where they are w0 = 10 and sigma = 5 pixels.

    Raises:
        ConfigError: a value that makes no weight, or more than a byte of sixteenths holds.
    """

    strength: float = 10.0
    sigma: float = 5.0  # pixels of the label map

    def __post_init__(self) -> None:
        if not 0 < self.strength <= 255 / STEPS:
            raise ConfigError(f"The border term's strength must lie in (0, {255 / STEPS}], got {self.strength}.")
        if not 0.1 <= self.sigma <= 100:
            raise ConfigError(f"The border term's sigma must lie within 0.1..100 pixels, got {self.sigma}.")

    def weights(self, labels: LabelMap) -> npt.NDArray[np.float32]:
        """(H, W) f32 of what to add to a pixel's class weight; 0 inside objects.

        Objects are the connected components of each thing class: a label map tells no more.
        """
        nearest = np.full(labels.shape, np.inf, np.float32)
        second = nearest.copy()
        reach = int(np.ceil(_REACH * self.sigma))
        for value in THINGS:
            mask = (labels == value).astype(np.uint8)
            if not mask.any():
                continue
            count, parts, boxes, _ = cv2.connectedComponentsWithStats(mask)
            for part in range(1, count):
                x, y, w, h = (int(v) for v in boxes[part][:4])
                window = np.s_[max(0, y - reach) : y + h + reach, max(0, x - reach) : x + w + reach]
                others = (parts[window] != part).astype(np.uint8)
                distance = cv2.distanceTransform(others, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
                second[window] = np.minimum(second[window], np.maximum(nearest[window], distance))
                nearest[window] = np.minimum(nearest[window], distance)
        term = self.strength * np.exp(-((nearest + second) ** 2) / (2 * self.sigma**2))
        return np.where(nearest > 0, term, 0).astype(np.float32)

    def beside(self, labels: LabelMap) -> npt.NDArray[np.uint8]:
        """(H, W, 2) u8: the labels, and the weights in sixteenths, as ``SegmentationLoss`` takes them."""
        return np.dstack([labels, np.round(self.weights(labels) * STEPS).astype(np.uint8)])
