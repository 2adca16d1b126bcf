"""The ``objects`` table of a message: rows on the wire, parallel arrays in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from perception.errors import WireError
from perception.types import VOID, Instances, Size
from perception.wire.codecs import MAX_RUN
from perception.wire.fields import INT_MAX, Fields

# A row takes about 70 bytes of a header of 1 MiB; a street has a few dozen.
MAX_OBJECTS = 10_000
MAX_MASKS = 6_000  # where masks overlap: each is described under ``parts`` as well, in as many bytes again


@dataclass(frozen=True, slots=True, eq=False)
class ObjectTable:
    """N objects of one frame as parallel arrays."""

    ids: npt.NDArray[np.uint16]  # (N,) values in the ids map, from 1
    tracks: tuple[int | None, ...]
    class_ids: npt.NDArray[np.uint8]  # (N,)
    scores: npt.NDArray[np.float32]  # (N,) 0..1
    boxes: npt.NDArray[np.int32]  # (N, 4) x0 y0 x1 y1, half-open, map pixels
    areas: npt.NDArray[np.int64]  # (N,) pixels
    truncated: int = 0

    def __len__(self) -> int:
        return len(self.ids)

    def row_of(self, object_id: int) -> int:
        """The row that describes this object; KeyError if there is none."""
        found = np.flatnonzero(self.ids == object_id)
        if not len(found):
            raise KeyError(f"object {object_id} is not in this frame; its ids are {self.ids.tolist()}")
        return int(found[0])


def objects_from_wire(fields: Fields, size: Size) -> ObjectTable:
    """The table under the header's ``objects`` key, each value checked. Raises WireError."""
    rows = fields.items("objects")
    if any(type(row) is not dict for row in rows):
        raise WireError("header: 'objects' must be a list of maps.")
    ids = _integers(rows, "id", 1, MAX_RUN)
    if len(set(ids)) != len(ids):
        raise WireError("header: two objects have the same id.")
    tracks = tuple(row.get("track") for row in rows)
    if any(track is not None and (type(track) is not int or not 0 <= track <= INT_MAX) for track in tracks):
        raise WireError("objects: 'track' must be an integer or nil.")
    scores = [row.get("score") for row in rows]
    if any(type(s) not in (int, float) or not 0 <= s <= 1 for s in scores):
        raise WireError("objects: 'score' must lie in 0..1.")
    return ObjectTable(
        ids=np.array(ids, np.uint16),
        tracks=tracks,
        class_ids=np.array(_integers(rows, "class_id", 0, VOID - 1), np.uint8),
        scores=np.array(scores, np.float32),
        boxes=np.array(_boxes(rows, size), np.int32).reshape(-1, 4),
        areas=np.array(_integers(rows, "area", 0, size[0] * size[1]), np.int64),
        truncated=fields.integer("truncated") if fields.has("truncated") else 0,
    )


def objects_to_wire(instances: Instances) -> list[dict[str, object]]:
    """One map per object."""
    count = len(instances)
    tracks: Sequence[int | None] = [None] * count
    if instances.tracks is not None:
        tracks = [track if track >= 0 else None for track in instances.tracks.tolist()]
    columns = zip(
        range(1, count + 1),
        tracks,
        instances.class_ids.tolist(),
        instances.scores.tolist(),
        instances.boxes.tolist(),
        instances.areas.tolist(),
    )
    keys = ("id", "track", "class_id", "score", "box", "area")
    return [dict(zip(keys, row)) for row in columns]


def limit_objects(instances: Instances, most: int | None = None) -> Instances:
    """The ``most`` objects of highest score, renumbered in their order; the rest is counted in ``truncated``.

    None: as many as a header holds.
    """
    if most is None:
        most = MAX_OBJECTS if instances.masks is None else MAX_MASKS
    surplus = len(instances) - most
    if surplus <= 0:
        return instances
    kept = np.sort(np.argsort(-instances.scores, kind="stable")[:most])
    ids = None
    if instances.ids is not None:
        renumber = np.zeros(MAX_RUN + 1, np.uint16)
        renumber[kept + 1] = np.arange(1, most + 1)
        ids = renumber[instances.ids]
    return replace(
        instances,
        class_ids=instances.class_ids[kept],
        scores=instances.scores[kept],
        boxes=instances.boxes[kept],
        areas=instances.areas[kept],
        ids=ids,
        masks=None if instances.masks is None else tuple(instances.masks[k] for k in kept),
        tracks=None if instances.tracks is None else instances.tracks[kept],
        truncated=instances.truncated + surplus,
    )


def _integers(rows: list[dict[Any, Any]], key: str, low: int, high: int) -> list[int]:
    values: list[Any] = [row.get(key) for row in rows]
    if any(type(value) is not int or not low <= value <= high for value in values):
        raise WireError(f"objects: {key!r} must be an integer in {low}..{high}.")
    return values


def _boxes(rows: list[dict[Any, Any]], size: Size) -> list[list[int]]:
    width, height = size
    boxes: list[Any] = [row.get("box") for row in rows]
    for box in boxes:
        if type(box) is not list or len(box) != 4 or any(type(v) is not int for v in box):
            raise WireError("objects: 'box' must be four integers x0 y0 x1 y1.")
        x0, y0, x1, y1 = box
        if not (0 <= x0 <= x1 <= width and 0 <= y0 <= y1 <= height):
            raise WireError(f"objects: box {box} does not lie in a map of {width} x {height}.")
    return boxes
