"""Label taxonomies, brought to one vocabulary of *sets* of the 19 train ids.

Data sets divide the world differently: Cityscapes and KITTI name all 19 classes, CamVid joins truck,
bus and train into "Car". A coarse label is kept as what it says, a set of train ids, so that no wrong
label is ever invented: values 0..18 of a training label map are the train ids themselves, 19.. are the
sets below, 255 is void. :func:`membership` turns the values into a 0/1 matrix for the loss.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from perception.classes import CITYSCAPES
from perception.types import VOID

CLASSES = len(CITYSCAPES)

CAMVID_NAMES = (
    "sky",
    "building",
    "pole",
    "road",
    "pavement",
    "tree",
    "sign",
    "fence",
    "car",
    "pedestrian",
    "bicyclist",
)
# SegNet's 11 CamVid classes, in the order of the annotation values, as sets of train ids.
CAMVID_SETS: tuple[tuple[int, ...], ...] = (
    (10,),  # sky
    (2, 3),  # building: building, wall
    (5,),  # pole
    (0,),  # road
    (1,),  # pavement
    (8, 9),  # tree: vegetation, terrain
    (6, 7),  # sign: traffic light, traffic sign
    (4,),  # fence
    (13, 14, 15, 16),  # car: car, truck, bus, train
    (11,),  # pedestrian
    (12, 17, 18),  # bicyclist: rider, motorcycle, bicycle
)

# The benchmark's table from labelId (0..33) to train id; every other label id is void.
_TRAIN_ID_OF_LABEL_ID = {
    7: 0,
    8: 1,
    11: 2,
    12: 3,
    13: 4,
    17: 5,
    19: 6,
    20: 7,
    21: 8,
    22: 9,
    23: 10,
    24: 11,
    25: 12,
    26: 13,
    27: 14,
    28: 15,
    31: 16,
    32: 17,
    33: 18,
}
LABEL_ID_LIMIT = 34


def train_ids_from_label_ids() -> npt.NDArray[np.uint8]:
    """(256,) u8 table from Cityscapes labelId to train id, void elsewhere."""
    table = np.full(256, VOID, np.uint8)
    for label_id, train_id in _TRAIN_ID_OF_LABEL_ID.items():
        table[label_id] = train_id
    return table


def set_values_from_camvid() -> npt.NDArray[np.uint8]:
    """(256,) u8 table from CamVid annotation value to training label value, void elsewhere.

    A set of one train id becomes that id, so only the sets that really are coarse get values of 19 and up.
    """
    table = np.full(256, VOID, np.uint8)
    for value, members in enumerate(CAMVID_SETS):
        table[value] = members[0] if len(members) == 1 else CLASSES + value
    return table


def membership() -> npt.NDArray[np.float32]:
    """(256, 19) f32 matrix: row v is 1 at the train ids that training label value v stands for.

    Rows of void and of unused values are zero.
    """
    matrix = np.zeros((256, CLASSES), np.float32)
    matrix[np.arange(CLASSES), np.arange(CLASSES)] = 1
    for value, members in enumerate(CAMVID_SETS):
        if len(members) > 1:
            matrix[CLASSES + value, list(members)] = 1
    return matrix


def values_within(train_ids: Iterable[int]) -> npt.NDArray[np.uint8]:
    """Training label values whose set lies within these train ids: the ids themselves, and coarse sets of them."""
    inside = np.zeros(CLASSES, bool)
    inside[list(train_ids)] = True
    sets = membership().astype(bool)
    return np.flatnonzero(sets.any(axis=1) & ~sets[:, ~inside].any(axis=1)).astype(np.uint8)


def camvid_from_train_ids() -> npt.NDArray[np.uint8]:
    """(256,) u8 table that merges predicted train ids into CamVid's 11 classes."""
    table = np.full(256, VOID, np.uint8)
    for value, members in enumerate(CAMVID_SETS):
        table[list(members)] = value
    return table


def camvid_from_values() -> npt.NDArray[np.uint8]:
    """(256,) u8 table from the training label values of CamVid images back to its 11 classes."""
    table = np.full(256, VOID, np.uint8)
    for value, train_value in enumerate(set_values_from_camvid()[: len(CAMVID_SETS)]):
        table[train_value] = value
    return table
