"""Objects by their boundaries: what is body and not border is a seed, and seeds grow until they meet.

The recipe that won the Data Science Bowl 2018 (Buslaev, Durnov, Seferbekov; "[ods.ai] topcoders"): seeds where
body x (1 - border) > 0.5, a watershed on -body inside body > 0.275, growth by 7 x 7 into the full mask > 0.35.
The recipe itself is ``training/watershed.py``. ``by_flooding`` is the form that exported graphs have
(training/graph_boundaries.py), byte for byte: steps of max-pooling and comparisons, which every engine has.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from perception.stages.centres import LEVELS, scores_of_levels
from perception.stages.votes import Floats, Grouped, Integers, Owners, decide
from perception.types import ConfidenceMap, LabelMap

SEED, BODY, FULL = 0.5, 0.275, 0.35
GROWTH = 7  # cells: the window of the last step
STEPS = 64  # cells that a seed's number travels: one that reaches farther from its brightest cell may fall apart
WATERLINES = (0.8, 0.65, 0.5, 0.4, BODY)  # a watershed in so many levels
RISE = 3  # cells that numbers grow at each of them
PLACES = 2**20  # cells of a map; with 16 grades of brightness before them they fit into f32
GRADES = 16


@dataclass(frozen=True, slots=True, eq=False)
class Bounded:
    """Objects of one frame, brightest seed first."""

    ids: npt.NDArray[np.int32]  # (h, w), 0 = none
    scores: Floats  # (K,) the largest body x (1 - border) of the seed of id k + 1, 0 where there is none
    places: tuple[Integers, Integers]  # (K,) row and column of that cell


def probabilities(logits: Floats) -> Floats:
    """What logits stand for, in steps of 1/256 of a logit: so that every engine has the same numbers."""
    half = LEVELS // 2
    levels = np.clip(np.rint(logits * np.float32(256)), -half, half - 1).astype(np.int64) + half
    return np.asarray(scores_of_levels()[levels], np.float32)


def by_flooding(body: Floats, border: Floats, most: int) -> Bounded:
    """The graph's form, on (h, w) f32 probabilities; at most ``most`` objects.

    Seeds are those with a core of 3 x 3 cells instead of ten cells; the node drops small objects.
    """
    index = np.arange(body.size).reshape(body.shape)
    inner = body * (np.float32(1) - border)
    seeds = inner > np.float32(SEED)
    core = cv2.erode(seeds.astype(np.uint8), np.ones((3, 3)), borderValue=1.0) > 0
    grade = np.floor(inner * np.float32(GRADES - 1)).astype(np.int64)
    own = (grade * PLACES + np.minimum(index + 1, PLACES - 1)).astype(np.float32)
    keys = np.where(core, own, np.float32(0))
    for _ in range(STEPS):
        keys = _widest(keys, 3) * seeds
    roots = np.where(core & (keys == own), keys, 0).ravel()
    for line in WATERLINES:
        for _ in range(RISE):
            keys = _flooded(keys, body > np.float32(line), 3)
    keys = _flooded(keys, np.minimum(body + border, np.float32(1)) > np.float32(FULL), GROWTH)
    order = np.concatenate([roots, np.zeros(most)])
    best = np.argsort(-order, kind="stable")[:most]
    found = order[best] > 0
    number = np.zeros(body.size + most, np.int32)
    number[best] = np.where(found, np.arange(1, most + 1), 0)
    places = np.maximum(keys.astype(np.int64) % PLACES - 1, 0)
    ids = np.where(keys > 0, number[places], 0).astype(np.int32)
    place = np.minimum(best, body.size - 1)
    scores = np.where(found, inner.ravel()[place], np.float32(0)).astype(np.float32)
    return Bounded(ids, scores, rows_and_columns(place, body.shape[1]))


def group_by_boundaries(
    labels: LabelMap,
    confidence: ConfidenceMap | None,
    body: Floats,
    border: Floats,
    thing_ids: tuple[int, ...],
    most: int = 128,
) -> Grouped:
    """Group the thing pixels of one frame by flooding. As ``group_by_centres``; body and border (H, W) f32 logits."""
    found = by_flooding(probabilities(body), probabilities(border), most)
    claimed = found.ids > 0
    owners = Owners(np.maximum(found.ids.astype(np.int64) - 1, 0), claimed, sure=claimed)
    return decide(labels, confidence, owners, found.places, found.scores, thing_ids)


def rows_and_columns(place: Integers, width: int) -> tuple[Integers, Integers]:
    """Where cells lie that are counted row by row."""
    return place // width, place % width


def _widest(keys: Floats, window: int) -> Floats:
    return np.asarray(cv2.dilate(keys, np.ones((window, window)), borderValue=0.0), np.float32)


def _flooded(keys: Floats, ground: npt.NDArray[np.bool_], window: int) -> Floats:
    """Every cell of ``ground`` that has no key gets the largest around it."""
    return np.where((keys == 0) & ground, _widest(keys, window), keys)
