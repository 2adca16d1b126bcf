"""Objects by their centres: every cell says where the centre of its object lies, and the nearest centre takes it.

Cheng et al. 2020, Panoptic-DeepLab, section 3.2: a class-agnostic heat map of centres, offsets from every cell to
its object's centre, and a vote of the pixels on the object's class. This is the arithmetic of the graph that
``roadcast-train export`` writes (training/graph_instances.py), in numpy: heat map and offsets are rounded to whole
numbers first, and everything after that is exact, so that every engine gives the same bytes as this reference.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from perception.errors import ConfigError, ShapeError
from perception.stages.votes import Floats, Grouped, Integers, Owners, decide
from perception.types import ConfidenceMap, LabelMap, check

LEVELS = 4096  # of a heat-map logit: -8 to 8 in steps of 1/256
CODED_CELLS = 2**19  # up to here the first of two equally bright centres counts more: 2 ** 31 / LEVELS
LONGEST = 2047  # cells; longer offsets are cut. Their squares still add up exactly in f32
BLOCK = 2  # cells; the nearest centre is looked up for blocks of so many cells in either direction
NEAR = 2  # cells; a claim that misses its centre by more has no vote, and takes pixels of the object's class alone


@dataclass(frozen=True, slots=True)
class CentreSettings:
    """How centres are found and what they may claim.

    Raises:
        ConfigError: a value is out of its range.
    """

    stride: int = 4  # network pixels a cell
    threshold: float = 0.1  # probability from which on a local maximum of the heat map is a centre
    apart: int = 1  # cells around a centre in which there is no other
    most: int = 128  # centres a frame, a power of two: the brightest
    reach: int = 2  # cells; a claim may miss its centre by so much, or by half the offset's length if that is more

    def __post_init__(self) -> None:
        if not 0.001 <= self.threshold < 1 or not 1 <= self.apart <= 3 or not 0 <= self.reach <= 64:
            raise ConfigError(
                "A threshold for centres lies in 0.001..1, 'apart' in 1..3 and 'reach' in 0..64, got "
                f"{self.threshold}, {self.apart} and {self.reach}."
            )
        if self.most not in (32, 64, 128, 256):
            raise ConfigError(f"The most centres a frame are 32, 64, 128 or 256, got {self.most}.")

    @property
    def lowest(self) -> int:
        """The level of the heat map that the threshold stands for."""
        return int(np.clip(np.rint(np.log(self.threshold / (1 - self.threshold)) * 256) + LEVELS // 2, 1, LEVELS - 1))

    @property
    def farthest(self) -> int:
        """Where a squared distance along one axis saturates, so that distance and number fit into 24 bits."""
        return int(2**23 // self.most - 1)


def scores_of_levels() -> Floats:
    """(LEVELS,) the probability that each level of the heat map stands for."""
    logits = (np.arange(LEVELS) - LEVELS // 2) / 256
    return (1 / (1 + np.exp(-logits))).astype(np.float32)


def group_by_centres(
    labels: LabelMap,
    confidence: ConfidenceMap | None,
    centres: Floats,
    offsets: Floats,
    thing_ids: tuple[int, ...],
    settings: CentreSettings | None = None,
) -> Grouped:
    """Group the thing pixels of one frame.

    A cell belongs to the centre nearest to where it points, if that is within reach; all pixels of a cell that are
    of a thing class belong to the cell's object. The class that most of the object's cells have wins (their
    first pixel counts; of equals the lower class), and the others are set to it. But where a claim misses its centre
    by more than NEAR cells, and by more than half the offset's length, the cell has no vote, and its pixels of another
    class stay what they are and belong to no object: theirs may be one whose centre was not found.

    Args:
        labels, confidence: (h, w) u8, h and w a whole multiple of the cells'.
        centres: (H, W) f32 logits of the heat map, H and W even.
        offsets: (2, H, W) f32 dy, dx in cells, from a cell to its object's centre.
        thing_ids: consecutive class ids.

    Raises:
        ShapeError: the maps do not fit each other.
    """
    settings = settings or CentreSettings()
    _check_maps(labels, centres, offsets)
    ys, xs, scores = find_centres(centres, settings)
    owners = _claims(offsets, ys, xs, scores > 0, settings)
    return decide(labels, confidence, owners, (ys, xs), scores, thing_ids)


def find_centres(heat: Floats, settings: CentreSettings) -> tuple[Integers, Integers, Floats]:
    """The brightest local maxima of an (H, W) heat map of logits, brightest first.

    Returns:
        Rows, columns and scores, each (K,); a score of 0 is no centre, and its place means nothing.
    """
    height, width = heat.shape
    levels = np.clip(np.rint(heat * np.float32(256)), -LEVELS // 2, LEVELS // 2 - 1).astype(np.int64) + LEVELS // 2
    side = 2 * settings.apart + 1
    # Of equal neighbours one has to win: every cell of a window has a code of its own.
    code = np.arange(height)[:, None] % side * side + np.arange(width) % side
    keys = levels * 64 + code
    around = cv2.dilate(keys.astype(np.float32), np.ones((side, side)), borderValue=-1.0)
    index = np.arange(height * width).reshape(height, width)
    is_centre = (keys == around) & (levels >= settings.lowest)
    order = np.where(is_centre, levels * CODED_CELLS + np.maximum(CODED_CELLS - 1 - index, 0), -1).ravel()
    order = np.concatenate([order, np.full(settings.most, -1)])
    best = np.argsort(-order, kind="stable")[: settings.most]
    found = order[best] >= 0
    level = np.where(found, order[best] // CODED_CELLS, 0)
    scores = np.where(found, scores_of_levels()[level], np.float32(0)).astype(np.float32)
    place = np.minimum(best, height * width - 1)
    return place // width, place % width, scores


def _claims(
    offsets: Floats, ys: Integers, xs: Integers, found: npt.NDArray[np.bool_], settings: CentreSettings
) -> Owners:
    """Every cell is of the centre nearest to where it points."""
    height, width = offsets.shape[1:]
    moves = np.clip(np.rint(offsets), -LONGEST, LONGEST).astype(np.int64)
    rows = np.clip(np.arange(height)[:, None] + moves[0], 0, height - 1) // BLOCK
    columns = np.clip(np.arange(width) + moves[1], 0, width - 1) // BLOCK
    nearest = _nearest(height // BLOCK, ys, found, settings)[:, None] + _nearest(width // BLOCK, xs, found, settings)
    packed = (nearest * settings.most + np.arange(settings.most)).min(axis=-1)[rows, columns]
    distance, number = packed // settings.most, packed % settings.most
    length = (moves**2).sum(axis=0)
    within, near = (4 * distance <= np.maximum(4 * cells**2, length) for cells in (settings.reach, NEAR))
    claimed = within & (distance < 2 * settings.farthest)
    return Owners(number, claimed, claimed & near)


def _nearest(blocks: int, at: Integers, found: npt.NDArray[np.bool_], settings: CentreSettings) -> Integers:
    """(blocks, K) squared distance along one axis from the middle of each block to each centre, less a quarter."""
    away = np.arange(blocks)[:, None] * BLOCK - at
    return np.where(found, np.minimum(away * away + away, settings.farthest), settings.farthest)


def _check_maps(labels: LabelMap, centres: Floats, offsets: Floats) -> None:
    check("centres", centres, np.float32, (None, None))
    height, width = centres.shape
    check("offsets", offsets, np.float32, (2, height, width))
    factor = labels.shape[0] // height if height else 0
    if not factor or labels.shape != (height * factor, width * factor) or height % BLOCK or width % BLOCK:
        raise ShapeError(
            f"Labels of {labels.shape} must be a whole multiple of the centres' {centres.shape}, which must be even."
        )
