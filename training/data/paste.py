"""Copy-paste of rare objects (Dwibedi, Misra, Hebert 2017, "Cut, Paste and Learn"; Ghiasi et al. 2021).

An object is cut out of one labelled picture and put into another, image and label together, at the rows
where it stood: with one camera, that keeps its size and its contact with the ground plausible.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from perception.types import VOID, Image, LabelMap
from training.data.taxonomy import values_within

# Classes that make one object where they touch: a sign with its pole, a rider with the bicycle.
_KINDS = tuple(values_within(ids) for ids in ((5, 6, 7), (11,), (12, 17, 18), (14, 15)))
_THINGS = values_within(range(11, 19))  # what an object should not cover
_GROUND = values_within((0, 1, 9))  # what it may stand on: road, sidewalk, terrain
_HANGING = values_within((6, 7))  # lights and signs without a pole stand on nothing
_LEAST_SIDE = 6  # pixels
_LARGEST = 0.12  # share of the picture
_SHIFT = 0.02  # of the height, up or down
_TRIES = 6
_OVERLAP = 0.1


@dataclass(frozen=True, slots=True)
class Cutout:
    """One object in its picture."""

    kind: int  # which of the kinds it is
    box: tuple[int, int, int, int]  # x, y, w, h
    mask: npt.NDArray[np.uint8]  # (h, w), 255 inside
    stands: bool  # on the ground


def find_cutouts(labels: LabelMap) -> list[Cutout]:
    """The rare objects of a label map (H, W): connected, whole and of a useful size."""
    frame = labelled_part(labels != VOID)
    found = []
    for kind, values in enumerate(_KINDS):
        chosen = cv2.LUT(labels, np.isin(np.arange(256), values).astype(np.uint8))
        left, top, span, rise = cv2.boundingRect(chosen)  # all zero where there is none
        near = np.ascontiguousarray(chosen[top : top + rise, left : left + span])
        count, parts, boxes, _ = cv2.connectedComponentsWithStats(near) if near.size else (0, near, near, near)
        for part in range(1, count):
            x, y, w, h, area = (int(v) for v in boxes[part])
            mask = ((parts[y : y + h, x : x + w] == part) * 255).astype(np.uint8)
            x, y = x + left, y + top
            cut_off = x == frame[0] or x + w == frame[2] or y + h == frame[3]
            if cut_off or max(w, h) < _LEAST_SIDE or area < 2 * _LEAST_SIDE or area > _LARGEST * labels.size:
                continue
            hangs = np.isin(labels[y : y + h, x : x + w][mask > 0], _HANGING).all()
            found.append(Cutout(kind, (x, y, w, h), mask, stands=not hangs))
    return found


def labelled_part(known: npt.NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """x0, y0, x1, y1 of what lies within the border of a map (H, W) of where anything is known.

    Cityscapes leaves the outermost rows and columns void: what ends there is cut off by the frame all the same.
    """
    x, y, w, h = cv2.boundingRect(known.astype(np.uint8))
    return x, y, x + w, y + h


def paste_objects(
    image: Image,
    labels: LabelMap,
    donor: tuple[Image, LabelMap],
    cutouts: Sequence[Cutout],
    random: np.random.Generator,
) -> tuple[Image, LabelMap]:
    """Copies of ``image`` and ``labels`` with one to three of the donor's objects in them.

    Kinds are drawn alike, so that the many poles do not crowd out the few riders. An object for which no
    place is found that is on the ground and not on another object, is left out. Pictures of another
    height than the donor's are returned as they are: their rows mean something else.
    """
    if not cutouts or abs(len(labels) - len(donor[1])) > _SHIFT * len(labels):
        return image, labels
    image, labels = image.copy(), labels.copy()
    gain = exposure_gain(image, donor[0])
    for _ in range(int(random.integers(1, 4))):
        kind = random.choice(sorted({cutout.kind for cutout in cutouts}))
        same = [cutout for cutout in cutouts if cutout.kind == kind]
        cutout = same[int(random.integers(len(same)))]
        place = find_place(labels, cutout, random)
        if place is not None:
            _put(image, labels, donor, cutout, place, gain, mirrored=bool(random.random() < 0.5))
    return image, labels


def exposure_gain(image: Image, donor: Image) -> float:
    """Half of the difference in exposure: a donor in the shade and a target in the sun are common."""
    return float(np.clip((image[::8, ::8].mean() + 1) / (donor[::8, ::8].mean() + 1), 0.4, 2.5) ** 0.5)


def find_place(labels: LabelMap, cutout: Cutout, random: np.random.Generator) -> tuple[int, int] | None:
    """(x, y) of the cut-out's box where it stands on the ground and on no other object; None where none was found."""
    height, width = labels.shape
    _, y, w, h = cutout.box
    for _ in range(_TRIES):
        shift = 0 if y == 0 else round(random.uniform(-_SHIFT, _SHIFT) * height)  # what is cut off above stays so
        left, top = int(random.integers(0, max(1, width - w))), y + shift
        if top < 0 or top + h > height or left + w > width:
            continue
        under = labels[top + h - 1, left : left + w]
        covered = labels[top : top + h, left : left + w][cutout.mask > 0]
        if cutout.stands and not np.isin(under, _GROUND).mean() >= 0.5:
            continue
        if np.isin(covered, _THINGS).mean() <= _OVERLAP:
            return left, top
    return None


def _put(
    image: Image,
    labels: LabelMap,
    donor: tuple[Image, LabelMap],
    cutout: Cutout,
    place: tuple[int, int],
    gain: float,
    *,
    mirrored: bool,
) -> None:
    """Write one object into ``image`` and ``labels``; the edge of the image, not of the label, is soft."""
    to, pixels, values, mask = lifted(donor[0], donor[1], cutout, place, mirrored=mirrored)
    blend(image[to], pixels, mask, gain)
    labels[to] = np.where(mask > 0, values, labels[to])


def lifted(
    image: Image, labels: LabelMap, cutout: Cutout, place: tuple[int, int], *, mirrored: bool
) -> tuple[tuple[slice, slice], Image, LabelMap, npt.NDArray[np.uint8]]:
    """Where in the target the box of a donor's object comes to lie, and the object's pixels, labels and mask (h, w)."""
    x, y, w, h = cutout.box
    to = np.s_[place[1] : place[1] + h, place[0] : place[0] + w]
    pixels, values, mask = image[y : y + h, x : x + w], labels[y : y + h, x : x + w], cutout.mask
    if mirrored:
        pixels, values, mask = pixels[:, ::-1], values[:, ::-1], mask[:, ::-1]
    return to, pixels, values, mask


def blend(under: Image, pixels: Image, mask: npt.NDArray[np.uint8], gain: float) -> None:
    """Draw ``pixels`` (h, w, 3), brightened by ``gain``, into ``under`` where the mask is 255, with a soft edge."""
    soft = cv2.GaussianBlur(np.ascontiguousarray(mask), (0, 0), 0.6, borderType=cv2.BORDER_CONSTANT)
    share = soft[..., None].astype(np.float32) / 255
    under[:] = np.round(under * (1 - share) + np.minimum(pixels * gain, 255) * share).astype(np.uint8)
