"""Class numbers of the rendered street: train ids, Cityscapes label ids, and the slots of one frame's index map.

While a frame is drawn, every pixel carries one byte beside its colour: a train id for stuff, or a slot
from ``FIRST_SLOT`` up that stands for one object. Two 256-entry tables turn it into both truth maps, so
the maps cannot disagree with each other or with the image.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from perception.classes import LABEL_IDS

ROAD, SIDEWALK, BUILDING, WALL, FENCE, POLE, TRAFFIC_LIGHT, TRAFFIC_SIGN, VEGETATION, TERRAIN, SKY = range(11)
PERSON, RIDER, CAR, TRUCK, BUS, TRAIN, MOTORCYCLE, BICYCLE = range(11, 19)

FIRST_SLOT = len(LABEL_IDS)
MAX_OBJECTS = 255 - FIRST_SLOT


def label_id_table() -> npt.NDArray[np.uint8]:
    """(256,) u8 table from train id to label id; void becomes 0, ``unlabeled``."""
    table = np.zeros(256, np.uint8)
    table[:FIRST_SLOT] = LABEL_IDS
    return table


def train_table(classes: Sequence[int]) -> npt.NDArray[np.uint8]:
    """(256,) u8 table from slot to train id, where object k of the frame has the class ``classes[k]``."""
    table = np.full(256, 255, np.uint8)
    table[:FIRST_SLOT] = range(FIRST_SLOT)
    table[FIRST_SLOT : FIRST_SLOT + len(classes)] = classes
    return table


def instance_table(classes: Sequence[int], numbers: Sequence[int]) -> npt.NDArray[np.int32]:
    """(256,) i32 table from slot to instance id: ``labelId`` for stuff, ``labelId * 1000 + n`` for things."""
    table = np.zeros(256, np.int32)
    table[:FIRST_SLOT] = LABEL_IDS
    for k, (class_id, number) in enumerate(zip(classes, numbers)):
        table[FIRST_SLOT + k] = LABEL_IDS[class_id] * 1000 + number
    return table
