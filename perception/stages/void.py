"""Void: what a camera's configuration says is not to be judged, outside its region and on the vehicle itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from perception.config import CameraConfig
from perception.config.geometry import Polygon
from perception.errors import ConfigError
from perception.pipeline import Stage
from perception.types import VOID, Scene, Segmentation

BRIGHT = 128  # of an image of the vehicle: from here on a pixel belongs to it
Mask = npt.NDArray[np.bool_]


class VoidMask:
    """Which pixels of a camera's maps are void. Masks are drawn once for each size of map.

    Raises:
        ConfigError: the image of the vehicle cannot be read.
    """

    def __init__(self, config: CameraConfig) -> None:
        self._region = config.region
        hood = config.ego_hood
        self._hood = None if isinstance(hood, str) else hood
        self._image = _read(hood) if isinstance(hood, str) else None
        self._drawn: dict[tuple[int, int], Mask] = {}

    def __bool__(self) -> bool:
        """Whether anything is void."""
        return self._region is not None or self._hood is not None or self._image is not None

    def of(self, shape: tuple[int, int]) -> Mask:
        """(h, w) true where a map of that shape is void."""
        if shape not in self._drawn:
            self._drawn[shape] = self._draw(shape)
        return self._drawn[shape]

    def _draw(self, shape: tuple[int, int]) -> Mask:
        mask = np.zeros(shape, np.bool_)
        if self._region is not None:
            mask |= ~inside(self._region, shape)
        if self._hood is not None:
            mask |= inside(self._hood, shape)
        if self._image is not None:
            mask |= cv2.resize(self._image, shape[::-1], interpolation=cv2.INTER_AREA) >= BRIGHT
        return mask


def void(masks: Mapping[str, VoidMask]) -> Stage:
    """The stage that sets labels to void (255) and their confidence to 0 where the mask of their stream is.

    It comes before objects are cut out, so there are none in what is void.
    """

    def stage(scenes: Iterable[Scene]) -> Iterator[Scene]:
        for scene in scenes:
            mask = masks.get(scene.frame.stream)
            if scene.segmentation is None or not mask:
                yield scene
                continue
            yield replace(scene, segmentation=_masked(scene.segmentation, mask)).lap("void")

    return stage


def inside(polygon: Polygon, shape: tuple[int, int]) -> Mask:
    """(h, w) true where the centre of a pixel lies in a polygon of fractions; where it crosses itself, even-odd."""
    height, width = shape
    x = (np.arange(width) + 0.5)[None, :] / width
    y = (np.arange(height) + 0.5)[:, None] / height
    found = np.zeros(shape, np.bool_)
    for (x0, y0), (x1, y1) in zip(polygon, (*polygon[1:], polygon[0])):
        if y0 != y1:
            crosses = (y0 > y) != (y1 > y)
            found ^= crosses & (x < x0 + (y - y0) * (x1 - x0) / (y1 - y0))
    return found


def _masked(segmentation: Segmentation, mask: VoidMask) -> Segmentation:
    height, width = segmentation.labels.shape
    drawn = mask.of((height, width))
    labels = segmentation.labels.copy()  # it may be a part of a whole batch's array
    labels[drawn] = VOID
    confidence = segmentation.confidence
    if confidence is not None:
        confidence = confidence.copy()
        confidence[drawn] = 0
    ids = None if segmentation.ids is None else np.where(drawn, 0, segmentation.ids).astype(np.int32, copy=False)
    return replace(segmentation, labels=labels, confidence=confidence, ids=ids)


def _read(name: str) -> npt.NDArray[np.uint8]:
    try:
        data = np.frombuffer(Path(name).read_bytes(), np.uint8)
        image = cv2.imdecode(data, cv2.IMREAD_GRAYSCALE) if data.size else None
    except OSError as error:
        raise ConfigError(f"Cannot read the image of the vehicle {name!r}: {error.strerror or error}.") from None
    if image is None:
        raise ConfigError(
            f"The image of the vehicle {name!r} is no image. Give a PNG that is white where the vehicle is."
        )
    return image.astype(np.uint8, copy=False)
