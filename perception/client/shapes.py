"""Received objects in the forms that other programs take: COCO run lengths, polygons, Cityscapes maps, source pixels.

    for object_id in scene.objects.ids.tolist():
        mask = mask_in_source(scene, object_id)
        entry = {"segmentation": run_lengths(mask), "rings": outlines(mask)}

All of it is plain numpy. ``run_lengths`` gives what ``pycocotools.mask`` calls an encoded mask.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from perception.classes import LABEL_IDS
from perception.client.scene import ReceivedScene
from perception.errors import WireError
from perception.types import VOID

Mask = npt.NDArray[np.bool_]  # (h, w)
Rings = list[npt.NDArray[np.float64]]  # each (V, 2) x y
Step = tuple[int, int]  # x, y

PER_CLASS = 1000  # objects of a class that a Cityscapes map can number


def run_lengths(mask: Mask) -> dict[str, Any]:
    """A mask as COCO writes it: ``size`` [h, w] and ``counts``, bytes that pycocotools reads.

    Runs are counted column by column, beginning with background. From the fourth on they are written as the difference
    to the one before the last, in groups of five bits from the lowest, each a printable character.
    """
    flat = np.concatenate([[False], mask.ravel(order="F")])
    ends = np.flatnonzero(np.append(flat[1:] != flat[:-1], True))
    counts = np.diff(ends, prepend=0)
    values = counts.copy()
    values[3:] -= counts[1:-2]
    return {"size": list(mask.shape), "counts": b"".join(map(_characters, values.tolist()))}


def mask_of_run_lengths(encoded: Mapping[str, Any]) -> Mask:
    """The (h, w) mask of what ``run_lengths`` or pycocotools wrote. Raises WireError unless it fills the size."""
    height, width = encoded["size"]
    written = encoded["counts"]
    counts: list[int] = []
    value = shift = 0
    for byte in written.encode() if isinstance(written, str) else written:
        group = byte - 48
        value |= (group & 31) << shift
        shift += 5
        if group & 32:
            continue
        value -= (group & 16) << (shift - 4)  # the highest bit of the last group is the sign
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
        value = shift = 0
    if shift or min(counts, default=0) < 0 or sum(counts) != height * width:
        raise WireError(f"run lengths: {len(counts)} runs do not fill a mask of {width} x {height}.")
    flat = np.repeat(np.arange(len(counts)) % 2 == 1, counts)
    return np.ascontiguousarray(flat.reshape(width, height).T)


def outlines(mask: Mask) -> Rings:
    """The closed rings around a mask's pixels, along their edges; filled by the even-odd rule they are the mask again.

    Points lie where the outline turns, in pixels whose centres are whole numbers: the ring around pixel (0, 0) runs
    from -0.5 to 0.5. Outer rings run clockwise as one sees them, rings around holes the other way. Pixels that
    touch at a corner only are apart.
    """
    padded = np.pad(mask, 1)
    above, below, left, right = padded[:-1], padded[1:], padded[:, :-1], padded[:, 1:]
    # Every edge has its pixel on the right hand: by direction, where there are edges and where the first one begins.
    edges = {
        (1, 0): (below & ~above, (0, 1)),
        (-1, 0): (above & ~below, (1, 1)),
        (0, 1): (left & ~right, (1, 0)),
        (0, -1): (right & ~left, (1, 1)),
    }
    following: dict[Step, list[Step]] = {}
    for step, (found, first) in edges.items():
        for y, x in np.argwhere(found).tolist():
            following.setdefault((x + first[0], y + first[1]), []).append(step)
    rings: Rings = []
    while following:
        rings.append(_ring(following) - 1.5)  # half a pixel, and one that was added around the mask
    return rings


def cityscapes_map(scene: ReceivedScene, label_ids: Mapping[int, int] | None = None) -> npt.NDArray[np.uint16]:
    """The (h, w) instance map of the Cityscapes format: label id x 1000 + n for objects, else the label id.

    Objects of a class are numbered from 0 in the order of the table; where masks overlap, the one of higher score is on
    top. What has no object, the 1001st of its class too, keeps its label id: it is a group there. Without labels,
    all of that is 0.

    Args:
        scene: with objects; labels as well, where they were received.
        label_ids: Cityscapes label id by class id; None for those of the 19 train ids. Others become 0.

    Raises:
        KeyError: objects were not received.
    """
    table = np.zeros(VOID + 1, np.uint16)
    for class_id, label_id in (dict(enumerate(LABEL_IDS)) if label_ids is None else label_ids).items():
        table[class_id] = label_id
    objects = scene.objects
    if objects is None:
        raise KeyError(f"objects of frame {scene.number} were not received")
    width, height = scene.size("objects")
    result = np.zeros((height, width), np.uint16) if scene.labels is None else table[scene.labels]
    numbered: dict[int, int] = {}
    values = np.zeros(len(objects), np.uint16)
    for row, class_id in enumerate(objects.class_ids.tolist()):
        number = numbered.get(class_id, 0)
        numbered[class_id] = number + 1
        values[row] = table[class_id] * PER_CLASS + number if number < PER_CLASS else table[class_id]
    ids = scene.ids
    if ids is not None:
        by_id = np.zeros(int(objects.ids.max(initial=0)) + 1, np.uint16)
        by_id[objects.ids] = values
        return np.where(ids > 0, by_id[np.minimum(ids, len(by_id) - 1)], result)
    for row in np.argsort(objects.scores, kind="stable").tolist():
        result[scene.mask(int(objects.ids[row]))] = values[row]
    return result


def mask_in_source(scene: ReceivedScene, object_id: int) -> Mask:
    """The (H, W) pixels of the camera's frame that show an object: those whose nearest map pixel is part of it.

    Raises:
        KeyError: the frame has no such object, or objects were not received.
    """
    mask = scene.mask(object_id)
    frame = scene.messages["objects"].header.frame
    assert frame is not None  # objects are a frame kind
    width, height = frame.source_size
    a, b, c, d, e, f = frame.to_source
    inverse = np.linalg.inv(np.array([[a, b], [d, e]]))
    x, y = np.arange(width) - c, np.arange(height)[:, None] - f
    columns = np.rint(inverse[0, 0] * x + inverse[0, 1] * y).astype(np.intp)
    rows = np.rint(inverse[1, 0] * x + inverse[1, 1] * y).astype(np.intp)
    inside = (columns >= 0) & (columns < mask.shape[1]) & (rows >= 0) & (rows < mask.shape[0])
    return np.asarray(mask[np.where(inside, rows, 0), np.where(inside, columns, 0)] & inside, np.bool_)


def _characters(value: int) -> bytes:
    """One whole number in groups of five bits, the lowest first; the sixth bit says that there is more."""
    written = bytearray()
    while True:
        group, value = value & 31, value >> 5
        more = value != (-1 if group & 16 else 0)
        written.append(group + 32 * more + 48)
        if not more:
            return bytes(written)


def _ring(following: dict[Step, list[Step]]) -> npt.NDArray[np.float64]:
    """Follow edges from any corner until they close, and take them out; the (V, 2) corners where they turn."""
    start = at = next(iter(following))
    steps: list[Step] = []
    points: list[Step] = []
    while at != start or not steps:
        ways = following[at]
        # Where four edges meet, turning right stays with the pixel that the edge belongs to.
        right = (-steps[-1][1], steps[-1][0]) if steps else ways[0]
        step = right if right in ways else ways[0]
        ways.remove(step)
        if not ways:
            del following[at]
        points.append(at)
        steps.append(step)
        at = (at[0] + step[0], at[1] + step[1])
    turns = [point for point, step, before in zip(points, steps, [steps[-1], *steps]) if step != before]
    return np.array(turns, np.float64)
