"""What a boundary head learns: bodies of objects, and borders only where two of them touch.

The recipe of the winners of the Data Science Bowl 2018 (Buslaev, Seferbekov, Durnov): lines of a watershed of the
dilated mask, widened 7x7, kept where two objects lie within 1, 2 or 3 pixels, by the size of the object that the
pixel belongs to; a body is its object without the border.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from training.data.centres import UNKNOWN, Ids, largest_of_cells

# Channels of the targets.
BODY, BORDER, WEIGHT = range(3)
BoundaryMap = npt.NDArray[np.float32]  # (H / 2, W / 2, 3)

_DILATION = 9  # pixels of the mask in which the watershed runs
_WIDENING = 7
_REACHES = ((300, 1), (2000, 2))  # objects of fewer pixels: how far apart two may lie
_FARTHEST = 3  # of larger ones, and outside of objects


@dataclass(frozen=True, slots=True)
class BoundaryTargets:
    """Makes the targets of one crop from its instance map."""

    def of(self, ids: Ids) -> BoundaryMap:
        """(H / 2, W / 2, 3) f32: body, border, and 1 where it is known what there is, in cells of 2x2 pixels.

        A cell is border where one of its pixels is, so that none gets lost, and else body where one of them is.
        """
        objects = np.where(ids == UNKNOWN, 0, ids).astype(np.uint16)
        border = largest_of_cells(between(objects)) > 0
        body = (largest_of_cells(objects) > 0) & ~border
        known = (largest_of_cells(ids == UNKNOWN) == 0) | body | border
        return np.stack([body, border, known], axis=-1).astype(np.float32)


def between(objects: Ids) -> npt.NDArray[np.bool_]:
    """(H, W) the border between objects that touch or nearly touch; ``objects`` are ids, 0 = none."""
    near = _lines(objects)
    if not near.any():
        return np.zeros(objects.shape, bool)
    near = cv2.dilate(near.astype(np.uint8), np.ones((_WIDENING, _WIDENING), np.uint8)) > 0
    area = np.bincount(objects.ravel(), minlength=UNKNOWN + 1)
    reach = np.full(UNKNOWN + 1, _FARTHEST, np.uint8)
    for limit, distance in reversed(_REACHES):
        reach[area < limit] = distance
    reach[0] = _FARTHEST
    wanted = reach[objects]
    border = np.zeros(objects.shape, bool)
    for distance in range(1, _FARTHEST + 1):
        border |= (wanted == distance) & _several(objects, 2 * distance + 1)
    return border & near


def _lines(objects: Ids) -> npt.NDArray[np.bool_]:
    """Where a flood of the dilated mask from all objects at once would meet: the lines of its watershed.

    On a mask without heights that is where the nearest object changes.
    """
    mask = (objects > 0).astype(np.uint8)
    if not mask.any():
        return np.zeros(objects.shape, bool)
    _, nearest = cv2.distanceTransformWithLabels(1 - mask, cv2.DIST_C, cv2.DIST_MASK_3, labelType=cv2.DIST_LABEL_PIXEL)
    owner = np.zeros(int(nearest.max()) + 1, np.uint16)
    owner[nearest[mask > 0]] = objects[mask > 0]
    flooded = cv2.dilate(mask, np.ones((_DILATION, _DILATION), np.uint8)) > 0
    return _several(np.where(flooded, owner[nearest], 0).astype(np.uint16), 3)


def _several(objects: Ids, side: int) -> npt.NDArray[np.bool_]:
    """Whether there are pixels of two objects or more in the window about a pixel."""
    window = np.ones((side, side), np.uint8)
    largest = cv2.dilate(objects, window)
    smallest = cv2.erode(np.where(objects > 0, objects, UNKNOWN).astype(np.uint16), window)
    return np.asarray((largest > 0) & (smallest < largest), np.bool_)
