"""What lies over the frame: class colours, outlines, boxes and names. The frame's size does not change."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
import numpy.typing as npt

from perception.classes import ClassTable
from perception.geometry import Affine, apply_affine
from perception.types import VOID, Image, Instances, LabelMap
from perception.view.layers import Style
from perception.view.picture import Picture
from perception.view.text import paste, plate, text_height

Box = tuple[int, int, int, int]  # x0 y0 x1 y1 in frame pixels, half-open
Color = tuple[int, int, int]  # BGR

_SUBPIXEL_BITS = 4  # cv2 draws lines at 1/16 of a pixel
_SHADE = 0.45  # borders between classes keep this much of the frame's brightness
_SMALL_OBJECT = 14  # strokes wide or high: below this, lines are one pixel wide, or they would fill the object
_SMALLEST_BOX = 4  # pixels: what is smaller gets no box, it would hide the object


def draw_overlay(canvas: Image, picture: Picture, style: Style) -> None:
    """Draw the chosen layers over ``canvas``, which holds a copy of the picture's frame and is changed in place."""
    stroke = max(1, round(min(canvas.shape[:2]) / 400))
    if picture.labels is not None and picture.labels_to_image is not None:
        labels = nearest(picture.labels, picture.labels_to_image, canvas.shape[1], canvas.shape[0])
        if "labels" in style.layers:
            _blend(canvas, labels, style)
        if "outlines" in style.layers and picture.objects is None:
            _shade_borders(canvas, labels, stroke)
    if picture.objects is not None and picture.objects_to_image is not None:
        _draw_objects(canvas, picture.objects, picture.objects_to_image, style, stroke)


def nearest(labels: LabelMap, affine: Affine, width: int, height: int) -> LabelMap:
    """The (height, width) map whose every pixel has the class of the nearest map pixel, void where the map ends.

    ``affine`` leads from map pixels to frame pixels. Two one-axis look-ups are exact and cost a third of
    a general warp; a rotated map takes the warp.
    """
    a, b, c, d, e, f = affine
    if b or d:
        warped = cv2.warpAffine(
            labels,
            np.array(affine, np.float64).reshape(2, 3),
            (width, height),
            flags=cv2.INTER_NEAREST,
            borderMode=cv2.BORDER_CONSTANT,
            borderValue=VOID,
        )
        return np.asarray(warped, np.uint8)
    columns, inside_x = _source_index(width, a, c, labels.shape[1])
    rows, inside_y = _source_index(height, e, f, labels.shape[0])
    grown = labels.take(columns, axis=1).take(rows, axis=0)
    if not (inside_x.all() and inside_y.all()):
        grown[:, ~inside_x] = VOID
        grown[~inside_y] = VOID
    return grown


def _source_index(
    length: int, scale: float, shift: float, limit: int
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.bool_]]:
    # The tiny addend keeps exact halves from falling to either side by rounding error.
    index = np.floor((np.arange(length) - shift) / scale + 0.5 + 1e-9).astype(np.intp)
    return np.clip(index, 0, limit - 1), (index >= 0) & (index < limit)


def _blend(canvas: Image, labels: LabelMap, style: Style) -> None:
    colours = cv2.applyColorMap(labels, style.table.palette_bgr().reshape(256, 1, 3))  # 4 times faster than cv2.LUT
    blended = cv2.addWeighted(canvas, 1 - style.alpha, colours, style.alpha, 0)
    ids = [row.id for row in style.table.rows]
    if ids == list(range(len(ids))) and int(labels.max()) < len(ids):
        canvas[:] = blended  # the common case: every pixel has a class of the table
        return
    known = np.zeros(256, np.uint8)
    known[ids] = 255
    cv2.copyTo(blended, cv2.LUT(labels, known), canvas)


def _shade_borders(canvas: Image, labels: LabelMap, stroke: int) -> None:
    border = np.zeros(labels.shape, np.uint8)
    np.not_equal(labels[:, 1:], labels[:, :-1], out=border[:, 1:].view(np.bool_))
    border[1:] |= (labels[1:] != labels[:-1]).view(np.uint8)
    if stroke > 1:
        border = np.asarray(cv2.dilate(border, np.ones((stroke, stroke), np.uint8)), np.uint8)
    cv2.copyTo(cv2.convertScaleAbs(canvas, alpha=_SHADE), border, canvas)


def _draw_objects(canvas: Image, objects: Instances, affine: Affine, style: Style, stroke: int) -> None:
    order = np.argsort(-objects.areas, kind="stable")  # large ones first, so that small ones stay visible
    order = order[objects.scores[order] >= style.min_score]
    colours = {int(c): vivid(style.table, int(c)) for c in np.unique(objects.class_ids)}
    boxes = [box_in_frame(objects.boxes[index], affine) for index in order]
    text = text_height(canvas.shape[1], canvas.shape[0])
    plates = [plate(object_text(objects, int(i), style.table), text, colours[int(objects.class_ids[i])]) for i in order]
    for index, box, name in zip(order, boxes, plates):
        colour = colours[int(objects.class_ids[index])]
        width = stroke if min(box[2] - box[0], box[3] - box[1]) >= _SMALL_OBJECT * stroke else 1
        if "outlines" in style.layers:
            _outline(canvas, objects, int(index), affine, colour, width)
        # A box around what is too small for a name tells no more than its outline does.
        if "boxes" in style.layers and (_is_nameable(box, name) or "outlines" not in style.layers):
            _box(canvas, box, colour, width)
    if "names" in style.layers:
        _write_names(canvas, boxes, plates)


def _outline(canvas: Image, objects: Instances, index: int, affine: Affine, colour: Color, stroke: int) -> None:
    x0, y0, x1, y1 = (int(v) for v in objects.boxes[index])
    if objects.masks is not None:
        mask = objects.masks[index].view(np.uint8)
    else:
        assert objects.ids is not None  # Instances hold one or the other
        mask = (objects.ids[y0:y1, x0:x1] == index + 1).view(np.uint8)
    lines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    a, b, c, d, e, f = affine
    matrix = np.array(((a, d), (b, e)), np.float64)
    one = 1 << _SUBPIXEL_BITS
    points = [np.rint(((line[:, 0] + (x0, y0)) @ matrix + (c, f)) * one).astype(np.int32) for line in lines]
    cv2.polylines(canvas, points, True, colour, stroke, cv2.LINE_AA, _SUBPIXEL_BITS)


def box_in_frame(box: npt.NDArray[np.int32], affine: Affine) -> Box:
    """A half-open box of map pixels as a half-open box of frame pixels.

    The edges of the box lie half a pixel outside its first and last pixel centre, and stay there.
    """
    x0, y0, x1, y1 = (float(v) - 0.5 for v in box)
    corners = [apply_affine(affine, x, y) for x in (x0, x1) for y in (y0, y1)]
    left, right = min(x for x, _ in corners), max(x for x, _ in corners)
    top, bottom = min(y for _, y in corners), max(y for _, y in corners)
    return round(left + 0.5), round(top + 0.5), round(right + 0.5), round(bottom + 0.5)


def _box(canvas: Image, box: Box, colour: Color, stroke: int) -> None:
    x0, y0, x1, y1 = box
    if min(x1 - x0, y1 - y0) >= _SMALLEST_BOX * stroke:
        cv2.rectangle(canvas, (x0, y0), (x1 - 1, y1 - 1), colour, stroke)


def _is_nameable(box: Box, name: Image) -> bool:
    """Whether an object is at least half as large as the plate with its name."""
    tall, wide = name.shape[:2]
    return bool(2 * _area(box) >= tall * wide)


def _write_names(canvas: Image, boxes: list[Box], plates: list[Image]) -> None:
    """Write names where they hide neither each other nor other objects, the largest objects first.

    An object smaller than half its name gets none; a larger one that finds no free place may cover a part
    of a neighbour.
    """
    height, width = canvas.shape[:2]
    taken: list[Box] = []
    for index, (box, patch) in enumerate(zip(boxes, plates)):
        tall, wide = patch.shape[:2]
        if not _is_nameable(box, patch) or wide > width or tall > height:
            continue
        others = boxes[:index] + boxes[index + 1 :]
        spots = [_inside(x, y, wide, tall, width, height) for x, y in _places(box, wide, tall)]
        free = [spot for spot in spots if not any(_overlap(spot, other) for other in taken)]
        clear = [spot for spot in free if not any(_overlap(spot, other) for other in others)]
        if clear or (free and _area(box) > 2 * tall * wide):
            spot = (clear or free)[0]
            taken.append(spot)
            paste(canvas, patch, spot[0], spot[1])


def _inside(x: int, y: int, wide: int, tall: int, width: int, height: int) -> Box:
    x, y = min(max(x, 0), width - wide), min(max(y, 0), height - tall)
    return x, y, x + wide, y + tall


def _area(box: Box) -> int:
    return (box[2] - box[0]) * (box[3] - box[1])


def _places(box: Box, width: int, height: int) -> Iterator[tuple[int, int]]:
    x0, y0, x1, y1 = box
    yield x0, y0 - height
    yield x1 - width, y0 - height
    yield x0, y1
    yield x1 - width, y1
    if y1 - y0 > 2 * height:
        yield x0, y0


def _overlap(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def object_text(objects: Instances, index: int, table: ClassTable) -> str:
    """``car 91% #17``: class, score, and the track where there is one."""
    text = f"{table.name(int(objects.class_ids[index]))} {objects.scores[index]:.0%}"
    return text if objects.tracks is None or objects.tracks[index] < 0 else f"{text} #{objects.tracks[index]}"


def vivid(table: ClassTable, class_id: int) -> Color:
    """The colour of a class, lightened until it stands out as a thin line on dark footage."""
    blue, green, red = (int(v) for v in table.palette_bgr()[class_id])
    peak = max(blue, green, red, 1)
    lifted = [v * 255 / peak for v in (blue, green, red)]  # same hue, full brightness
    luma = 0.114 * lifted[0] + 0.587 * lifted[1] + 0.299 * lifted[2]
    white = max(0.0, (140 - luma) / (255 - luma)) if luma < 255 else 0.0
    b, g, r = (round(v + (255 - v) * white) for v in lifted)
    return b, g, r
