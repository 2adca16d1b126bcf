"""Objects vote on their class: what follows once it is known which cell belongs to which object.

Cheng et al. 2020, Panoptic-DeepLab, section 3.2, "majority vote". The exported graph does the same, byte for byte.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from perception.types import ConfidenceMap, LabelMap

WINDOW = 2  # cells around a centre that vote, all of them
STEP = 2  # and of all cells every second one in either direction

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Grouped:
    """What grouping makes of one frame."""

    labels: LabelMap  # (h, w) u8; inside an object its class
    confidence: ConfidenceMap | None  # (h, w) u8; 0 where the vote changed the label
    ids: npt.NDArray[np.int32]  # (h, w), 0 = none
    id_scores: Floats  # (K,) score of id k + 1, 0 where there is none


@dataclass(frozen=True, slots=True, eq=False)
class Owners:
    """Which object each cell belongs to; all fields are (H, W)."""

    number: Integers  # of the object, from 0
    claimed: npt.NDArray[np.bool_]  # whether it belongs to it
    sure: npt.NDArray[np.bool_]  # whether it votes, too, and its pixels of other classes belong to the object as well


def decide(
    labels: LabelMap,
    confidence: ConfidenceMap | None,
    owners: Owners,
    places: tuple[Integers, Integers],
    scores: Floats,
    thing_ids: tuple[int, ...],
) -> Grouped:
    """Labels, confidence and ids after the vote. Pixels of a thing class belong to the object of their cell,
    those of another class than the object's only where the cell is sure.

    Args:
        labels, confidence: (h, w) u8, a whole multiple of the cells.
        owners: of every cell.
        places: (K,) row and column of each object's centre.
        scores: (K,) of the objects.
        thing_ids: consecutive class ids.
    """
    number, claimed = owners.number, owners.claimed
    factor, most = labels.shape[0] // number.shape[0], len(scores)
    first, count = thing_ids[0], len(thing_ids)
    things = labels.astype(np.int64) - first
    is_thing = (things >= 0) & (things < count)
    corner = np.s_[::factor, ::factor]
    ballots = np.where(owners.sure & is_thing[corner], number * count + things[corner], most * count)
    votes = _votes(ballots, *places, most, count)
    elected = np.where(votes.max(axis=1) > 0, votes.argmax(axis=1) + first, -1)
    cell_class = np.where(claimed, elected[number], -1)
    cell_id = np.where(cell_class >= 0, number + 1, 0)
    voted = _lift(cell_class, factor)
    follows = is_thing & (_lift(owners.sure, factor) | (voted == labels))
    ids = np.where(follows, _lift(cell_id, factor), 0).astype(np.int32)
    voted = np.where(ids > 0, voted, labels).astype(np.uint8)
    sure = None if confidence is None else np.where(voted == labels, confidence, 0).astype(np.uint8)
    return Grouped(voted, sure, ids, scores)


def _votes(ballots: Integers, ys: Integers, xs: Integers, most: int, classes: int) -> Integers:
    """(K, classes) votes; a ballot is centre * classes + class. Near its centre an object counts every cell."""
    height, width = ballots.shape
    sampled = np.bincount(ballots[::STEP, ::STEP].ravel(), minlength=most * classes + 1)[:-1].reshape(most, classes)
    near = np.arange(-WINDOW, WINDOW + 1)
    rows = np.clip(ys[:, None] + near, 0, height - 1)
    columns = np.clip(xs[:, None] + near, 0, width - 1)
    own = ballots[rows[:, :, None], columns[:, None, :]].reshape(most, -1) - np.arange(most)[:, None] * classes
    return np.asarray(sampled + (own[:, :, None] == np.arange(classes)).sum(axis=1), np.int64)


def _lift(cells: npt.NDArray[Any], factor: int) -> npt.NDArray[Any]:
    return cells.repeat(factor, axis=0).repeat(factor, axis=1)
