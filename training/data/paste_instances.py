"""Copy-paste of single objects, so that more of them touch and hide each other.

Ghiasi et al. 2021, "Simple Copy-Paste is a Strong Data Augmentation Method for Instance Segmentation", pastes anywhere
and in front. Here an object comes from the rows where it stood, mostly beside another one, and the one whose foot is
lower in the picture, and so nearer to the camera, hides the other: what is seen of the farther one is what a head has
to tell apart in a row of parked cars.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from perception.types import Image, LabelMap
from training.data.centres import UNKNOWN, Ids
from training.data.instances import PER_CLASS
from training.data.paste import Cutout, blend, exposure_gain, find_place, labelled_part, lifted

Sample = tuple[Image, LabelMap, Ids]  # (H, W, 3) u8, (H, W) u8, (H, W) u16 train id * 1000 + n, 0 or UNKNOWN
Boxes = dict[int, tuple[int, int, int, int]]  # x, y, w, h of each object's id
_MOST = 4  # pasted into one picture
_LEAST_AREA, _LARGEST = 60, 0.12  # pixels, and share of the picture
_LEAST_FILL = 0.4  # of its box: much less is what is seen of a hidden object, which is no shape to paste
_BESIDE = 0.75  # share of the objects that are put beside another one
_ALIKE = 4.0  # by how much the heights of two that stand beside each other may differ
_SHIFT = 0.02  # of the height, up or down
_LEAST_SEEN = 0.15  # of a pasted object, or it is not pasted


def find_instances(ids: Ids) -> list[Cutout]:
    """The objects of an instance map (H, W) that are whole, hardly hidden and of a useful size; ``kind`` is the id."""
    frame = labelled_part(ids != UNKNOWN)
    found = []
    for one, (x, y, w, h) in boxes_of(ids).items():
        mask = (ids[y : y + h, x : x + w] == one).astype(np.uint8) * np.uint8(255)
        area = np.count_nonzero(mask)
        cut_off = x == frame[0] or y == frame[1] or x + w == frame[2] or y + h == frame[3]
        if not cut_off and _LEAST_AREA <= area <= _LARGEST * ids.size and area >= _LEAST_FILL * w * h:
            found.append(Cutout(one, (x, y, w, h), mask, stands=True))
    return found


def boxes_of(ids: Ids) -> Boxes:
    """The box of every object of an instance map (H, W), by their ids from the lowest on.

    In one pass, whatever the number of objects: of runs of equal ids along the rows, which are few.
    """
    width = ids.shape[1]
    flat = ids.ravel()
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    starts = np.union1d(changes, np.arange(0, flat.size, width))  # a row ends a run
    ends = np.append(starts[1:], flat.size)
    named = (flat[starts] > 0) & (flat[starts] < UNKNOWN)
    starts, ends = starts[named], ends[named]
    known, owner = np.unique(flat[starts], return_inverse=True)
    rows, left = np.divmod(starts, width)
    low, high = np.full((2, len(known)), flat.size), np.zeros((2, len(known)), np.intp)
    for axis, (first, past) in enumerate([(left, left + ends - starts), (rows, rows + 1)]):
        np.minimum.at(low[axis], owner, first)
        np.maximum.at(high[axis], owner, past)
    corners = np.concatenate([low, high - low])  # x, y, w, h
    return {one: (x, y, w, h) for one, x, y, w, h in zip(known.tolist(), *corners.tolist())}


def paste_instances(sample: Sample, donor: Sample, cutouts: Sequence[Cutout], random: np.random.Generator) -> Sample:
    """Copies of the sample's three maps with one to four of the donor's objects in them, each with an id of its own.

    Objects for which no place is found are left out. Pictures of another height than the donor's are returned as they
    are: their rows mean something else.
    """
    image, labels, ids = sample
    if not cutouts or len(labels) != len(donor[1]):
        return sample
    image, labels, ids = image.copy(), labels.copy(), ids.copy()
    gain = exposure_gain(image, donor[0])
    for _ in range(int(random.integers(1, _MOST + 1))):
        cutout = cutouts[int(random.integers(len(cutouts)))]
        boxes = boxes_of(ids)
        place = _beside(ids.shape, cutout, boxes, random) if random.random() < _BESIDE else None
        place = place or find_place(labels, cutout, random)
        if place is not None:
            _put((image, labels, ids), donor, cutout, place, boxes, gain, mirrored=bool(random.random() < 0.5))
    return image, labels, ids


def _beside(
    shape: tuple[int, ...], cutout: Cutout, boxes: Boxes, random: np.random.Generator
) -> tuple[int, int] | None:
    """(x, y) at which the cut-out, at its own rows, overlaps an object of about its size; None where there is none."""
    _, y, w, h = cutout.box
    top = y + round(random.uniform(-_SHIFT, _SHIFT) * shape[0])
    near = [
        box
        for box in boxes.values()
        if h / _ALIKE <= box[3] <= h * _ALIKE and box[1] < top + h and top < box[1] + box[3]
    ]
    if not near or top < 0 or top + h > shape[0]:
        return None
    x, _, span, _ = near[int(random.integers(len(near)))]
    left = round(random.uniform(x - 0.9 * w, x + span - 0.1 * w))
    return (left, top) if 0 <= left <= shape[1] - w else None


def _put(
    sample: Sample,
    donor: Sample,
    cutout: Cutout,
    place: tuple[int, int],
    boxes: Boxes,
    gain: float,
    *,
    mirrored: bool,
) -> None:
    """Write one object into the sample's maps, where nothing nearer to the camera stands."""
    to, pixels, values, mask = lifted(donor[0], donor[1], cutout, place, mirrored=mirrored)
    image, labels, ids = sample[0][to], sample[1][to], sample[2][to]
    nearer = [one for one, (_, top, _, rise) in boxes.items() if top + rise > to[0].stop]
    seen = (mask > 0) & ~np.isin(ids, nearer)
    number = _free_number(boxes, cutout.kind)
    if np.count_nonzero(seen) < _LEAST_SEEN * np.count_nonzero(mask) or number is None:
        return
    blend(image, pixels, seen.astype(np.uint8) * np.uint8(255), gain)
    labels[seen] = values[seen]
    ids[seen] = number


def _free_number(boxes: Boxes, like: int) -> int | None:
    """An id of the same class that no object has; None where there is none."""
    start = like // PER_CLASS * PER_CLASS
    return next((one for one in range(start + 1, start + PER_CLASS) if one not in boxes), None)
