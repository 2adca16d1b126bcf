"""Exact label maps as the polygons that the ``cityscapesscripts`` tools draw maps from.

Those tools paint polygons one over another, each with its edge. So every connected region is given by its outer
outline, and regions come by the area that their outlines enclose, largest first: what lies in a hole is painted
after what surrounds it. The largest piece of a thing is the thing, its other pieces are of label ``<class>group``,
for the tools would count them as things of their own. Painting gives back the label map pixel by pixel.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import cv2
import numpy as np
import numpy.typing as npt

from perception.classes import CITYSCAPES
from perception.types import LabelMap

Polygon = list[list[int]]  # x, y of pixel centres
NUMBERED = 1000  # instance ids from here on are labelId * 1000 + n


def polygons_json(labels: LabelMap, instances: npt.NDArray[np.int32]) -> str:
    """The text of a ``*_polygons.json`` file.

    Args:
        labels: (H, W) u8 train ids without void.
        instances: (H, W) i32 as Cityscapes has them: labelId * 1000 + n for things, else labelId. They agree with
            ``labels``.
    """
    objects = [{"label": label, "polygon": polygon} for label, polygon in _painted(labels, instances)]
    height, width = labels.shape
    return json.dumps({"imgHeight": height, "imgWidth": width, "objects": objects}, separators=(",", ":")) + "\n"


def _painted(labels: LabelMap, instances: npt.NDArray[np.int32]) -> Iterator[tuple[str, Polygon]]:
    """Label and outline of every region, in the order of painting."""
    regions: list[tuple[float, int, int, Polygon]] = []  # minus the enclosed area, instance id, class, outline
    for value in np.unique(instances).tolist():
        pixels = (instances == value).astype(np.uint8)
        left, top, wide, high = cv2.boundingRect(pixels)
        count, pieces, boxes, _ = cv2.connectedComponentsWithStats(
            pixels[top : top + high, left : left + wide], connectivity=4
        )
        for k in range(1, count):
            x, y, width, height = boxes[k, :4].tolist()
            piece = (pieces[y : y + height, x : x + width] == k).astype(np.uint8)
            corner = left + x, top + y
            outlines, _ = cv2.findContours(piece, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE, offset=corner)
            class_id = int(labels[corner[1], corner[0] + int(piece[0].argmax())])
            regions.append((-_enclosed(outlines[0]), value, class_id, _closed(outlines[0])))
    numbered: set[int] = set()
    for _, value, class_id, outline in sorted(regions, key=lambda region: region[:2]):
        yield CITYSCAPES.name(class_id) + ("group" if value in numbered else ""), outline
        if value >= NUMBERED:
            numbered.add(value)


def _enclosed(outline: npt.NDArray[np.int32]) -> float:
    """Pixels on and within an outline, by Pick's theorem: its steps go to one of the eight neighbours each."""
    steps = np.abs(np.diff(outline[:, 0], axis=0, append=outline[:1, 0])).max(axis=1).sum()
    return float(cv2.contourArea(outline) + steps / 2 + 1)


def _closed(outline: npt.NDArray[np.int32]) -> Polygon:
    """An outline as a list; one of a single pixel or a line gets the points that a polygon needs."""
    points: Polygon = outline[:, 0].tolist()
    return points if len(points) > 2 else [points[0], points[-1], points[-1]]
