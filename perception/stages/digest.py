"""Digest: what a planner asks first of a frame, small enough to be read every time (kind ``summary``)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

import cv2
import numpy as np
import numpy.typing as npt

from perception.classes import ClassTable
from perception.geometry import apply_affine, resize_affine
from perception.pipeline import Stage
from perception.types import VOID, Digest, LabelMap, Scene, Size

PARTS = 32  # of the width, for the nearest things
DRIVABLE = frozenset({"road"})  # names of classes
SMALLEST_ROAD = 0.002  # of the map; smaller patches of road are noise
CORNER_TOLERANCE = 1.5  # map pixels that the polygon may lie off the contour


def digests(classes: ClassTable, *, wanted: Callable[[str], bool] = lambda _: True) -> Stage:
    """The stage that gives every scene with a segmentation its digest, while ``wanted(stream)`` is true."""
    things = _table(classes.thing_ids())
    roads = _table(tuple(row.id for row in classes.rows if row.name in DRIVABLE))

    def stage(scenes: Iterable[Scene]) -> Iterator[Scene]:
        for scene in scenes:
            if scene.segmentation is None or not wanted(scene.frame.stream):
                yield scene
                continue
            labels, source_size = scene.segmentation.labels, scene.frame.size
            digest = Digest(share(labels), nearest(things[labels], source_size), drivable(roads[labels], source_size))
            yield replace(scene, digest=digest).lap("summary")

    return stage


def share(labels: LabelMap) -> dict[int, float]:
    """The fraction of the (h, w) map that each class covers, void and absent classes left out."""
    counts = np.bincount(labels.ravel(), minlength=VOID + 1)
    return {int(class_id): float(counts[class_id] / labels.size) for class_id in np.flatnonzero(counts[:VOID])}


def nearest(things: npt.NDArray[np.bool_], source_size: Size) -> tuple[int | None, ...]:
    """The lowest source row of a thing in each 32nd of the width of an (h, w) mask; None where there is none."""
    height, width = things.shape
    lowest = np.where(things.any(axis=0), height - things[::-1].argmax(axis=0), 0)  # one below it, 0 for none
    parts = np.zeros(PARTS, np.int64)
    np.maximum.at(parts, np.arange(width) * PARTS // width, lowest)
    # A map row covers several rows of the source; the lowest of them is where the thing may end.
    return tuple(-(-int(row) * source_size[1] // height) - 1 if row else None for row in parts)


def drivable(road: npt.NDArray[np.bool_], source_size: Size) -> tuple[tuple[float, float], ...]:
    """The outline of the largest connected piece of road in an (h, w) mask, as x, y in source pixels."""
    height, width = road.shape
    contours, _ = cv2.findContours(road.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    largest = max(contours, key=cv2.contourArea, default=None)
    if largest is None or cv2.contourArea(largest) < SMALLEST_ROAD * road.size:
        return ()
    corners = cv2.approxPolyDP(largest, CORNER_TOLERANCE, True)[:, 0]
    affine = resize_affine((width, height), source_size)
    return tuple(apply_affine(affine, float(x), float(y)) for x, y in corners)


def _table(ids: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    """(256,) true for these class ids: looking up is faster than comparing with each."""
    table = np.zeros(VOID + 1, np.bool_)
    table[list(ids)] = True
    return table
