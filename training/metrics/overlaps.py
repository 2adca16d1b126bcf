"""How many pixels every true segment shares with every predicted object: what instance and panoptic scores rest on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from perception.types import VOID, LabelMap, check

NUMBERS = 1000  # an object's value is class id * NUMBERS + its number, as in the Cityscapes format
InstanceMap = npt.NDArray[np.int32]  # (H, W) class id * 1000 + n, 0 = no object
Masks = Sequence[npt.NDArray[np.bool_]]  # each (H, W)


@dataclass(frozen=True, slots=True, eq=False)
class InstanceTruth:
    """What is true of one picture.

    A pixel whose label is a countable class but that belongs to no object is part of a *group*: things too
    many or too blurred to tell apart. Groups, and void, are never counted against a prediction.
    """

    labels: LabelMap  # (H, W) u8 train ids, 255 = void
    instances: InstanceMap  # (H, W) i32 train id * 1000 + n, 0 = none
    distances: Mapping[int, float] = field(default_factory=dict)  # metres, by value in ``instances``; as far as known

    def __post_init__(self) -> None:
        check("InstanceTruth.labels", self.labels, np.uint8, (None, None))
        check("InstanceTruth.instances", self.instances, np.int32, self.labels.shape)

    def codes(self) -> InstanceMap:
        """(H, W) i32, one value a segment: objects keep theirs, all else has its label; void is 255."""
        return np.where((self.instances >= NUMBERS) & (self.labels != VOID), self.instances, self.labels)


@dataclass(frozen=True, slots=True, eq=False)
class Overlaps:
    """Pixel counts of one picture: S true segments by N predicted objects, which may overlap each other."""

    codes: npt.NDArray[np.int64]  # (S,) ascending: below 1000 the class of stuff, groups, void; else objects
    truth_areas: npt.NDArray[np.int64]  # (S,)
    areas: npt.NDArray[np.int64]  # (N,)
    shared: npt.NDArray[np.int64]  # (S, N)


def overlaps_of_ids(codes: InstanceMap, ids: npt.NDArray[Any], count: int) -> Overlaps:
    """Count where one map holds all objects: (H, W) integers, 0 for none, else 1..count.

    Raises:
        ValueError: the maps differ in shape, or an id is larger than ``count``.
    """
    _check_shape(codes, ids)
    largest = int(ids.max(initial=0))
    if largest > count:
        raise ValueError(f"The ids reach to {largest}; there are {count} objects.")
    segments, index = _segments(codes)
    table = np.bincount(
        index.ravel() * (count + 1) + ids.ravel().astype(np.int64), minlength=len(segments) * (count + 1)
    ).reshape(len(segments), count + 1)
    return Overlaps(segments, table.sum(axis=1), table[:, 1:].sum(axis=0), table[:, 1:])


def overlaps_of_masks(codes: InstanceMap, masks: Masks) -> Overlaps:
    """Count where each object has a boolean mask of its own, (H, W). Raises ValueError if one has another shape."""
    segments, index = _segments(codes)
    shared = np.zeros((len(segments), len(masks)), np.int64)
    for k, mask in enumerate(masks):
        _check_shape(codes, mask)
        shared[:, k] = np.bincount(index[mask], minlength=len(segments))
    areas = shared.sum(axis=0)  # every pixel belongs to one segment
    return Overlaps(segments, np.bincount(index.ravel(), minlength=len(segments)), areas, shared)


def _segments(codes: InstanceMap) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The (S,) values that occur, ascending, and the (H, W) place of each pixel's among them."""
    segments = np.flatnonzero(np.bincount(codes.ravel()))
    place = np.zeros(int(segments[-1]) + 1 if len(segments) else 1, np.int64)
    place[segments] = np.arange(len(segments))
    return segments, place[codes]


def _check_shape(codes: InstanceMap, prediction: npt.NDArray[Any]) -> None:
    if prediction.shape != codes.shape:
        raise ValueError(f"Truth is {codes.shape}, prediction {prediction.shape}; they must agree.")
