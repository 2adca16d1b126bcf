"""One frame with what was found in it: the input of everything that draws."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt

from perception.errors import ShapeError
from perception.geometry import Affine, resize_affine
from perception.types import Image, Instances, LabelMap, Scene, check

READABLE_PIXELS = 360  # a frame whose shorter side is below this is enlarged, or its text would not be legible


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """A frame, its label map and its objects, each map with the affine that leads to the frame's pixels.

    A map may be smaller or larger than the frame. An affine of None means that the map covers the whole
    frame, as after a plain resize.
    """

    image: Image  # (H, W, 3) u8 BGR
    labels: LabelMap | None = None  # (h, w) u8, 255 = void
    labels_to_image: Affine | None = None
    objects: Instances | None = None
    objects_to_image: Affine | None = None

    def __post_init__(self) -> None:
        check("Picture.image", self.image, np.uint8, (None, None, 3))
        height, width = self.image.shape[:2]
        if self.labels is not None:
            check("Picture.labels", self.labels, np.uint8, (None, None))
            if self.labels_to_image is None:
                object.__setattr__(self, "labels_to_image", _covering(self.labels, width, height))
        if self.objects is not None and self.objects_to_image is None:
            if self.objects.ids is None:
                raise ShapeError("Objects with cropped masks need objects_to_image: their map's size is not known.")
            object.__setattr__(self, "objects_to_image", _covering(self.objects.ids, width, height))

    def scaled(self, scale: float) -> Picture:
        """The same picture with a frame ``scale`` times as large; maps stay as they are, their affines follow."""
        if scale == 1:
            return self
        height, width = self.image.shape[:2]
        size = max(1, round(width * scale)), max(1, round(height * scale))
        image = np.asarray(cv2.resize(self.image, size, interpolation=cv2.INTER_CUBIC if scale > 1 else cv2.INTER_AREA))
        grow = resize_affine((width, height), size)
        return replace(
            self,
            image=image.astype(np.uint8, copy=False),
            labels_to_image=None if self.labels_to_image is None else chain(grow, self.labels_to_image),
            objects_to_image=None if self.objects_to_image is None else chain(grow, self.objects_to_image),
        )

    def readable(self) -> Picture:
        """This picture, enlarged by a whole number if its frame is too small to carry text."""
        shorter = min(self.image.shape[:2])
        return self.scaled(-(-READABLE_PIXELS // shorter))


def picture_from_scene(scene: Scene) -> Picture:
    """What a node knows about one frame, as it is inside the node: maps that cover the whole frame."""
    labels = scene.segmentation.labels if scene.segmentation else None
    image = scene.frame.image if scene.enhanced is None else scene.enhanced
    affine = None if labels is None else _covering(labels, image.shape[1], image.shape[0])
    objects = scene.instances
    return Picture(image, labels, affine, objects, affine if objects is not None and objects.ids is None else None)


def chain(outer: Affine, inner: Affine) -> Affine:
    """The affine that applies ``inner`` first and ``outer`` then."""
    a, b, c, d, e, f = outer
    g, h, i, j, k, m = inner
    return (a * g + b * j, a * h + b * k, a * i + b * m + c, d * g + e * j, d * h + e * k, d * i + e * m + f)


def _covering(array: npt.NDArray[np.uint8] | npt.NDArray[np.uint16], width: int, height: int) -> Affine:
    return resize_affine((array.shape[1], array.shape[0]), (width, height))
