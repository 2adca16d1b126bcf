"""Objects: countable things cut out of the label map, one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt

from perception.classes import ClassTable
from perception.pipeline import Stage
from perception.stages.calibration import calibrated
from perception.stages.pasting import pasted
from perception.types import VOID, ConfidenceMap, Instances, LabelMap, Scene, Segmentation, Size

MAX_OBJECTS = 65_535  # ids are 16 bits wide, 0 means none
MIN_AREA = 64  # pixels of a map of REFERENCE_SIZE; scaled to the map at hand
REFERENCE_SIZE: Size = (1024, 512)
UNCLAIMED_SCORE = 0.1  # of what the model gave no id: the probability from which on it sees a centre


def objects(classes: ClassTable, *, wanted: Callable[[str], bool] = lambda _: True, min_area: int = MIN_AREA) -> Stage:
    """The stage that gives every scene with a segmentation its instances, while ``wanted(stream)`` is true."""

    def stage(scenes: Iterable[Scene]) -> Iterator[Scene]:
        for scene in scenes:
            if scene.segmentation is None or not wanted(scene.frame.stream):
                yield scene
                continue
            instances = separate(scene.segmentation, classes, min_area=min_area)
            yield replace(scene, instances=instances).lap("instances")

    return stage


def separate(segmentation: Segmentation, classes: ClassTable, *, min_area: int = MIN_AREA) -> Instances:
    """Separate the things of a label map into objects.

    Where the model found boxes they are what the objects are made of (``perception.stages.pasting``), and all else
    is for models without.

    Where the model told objects apart (``segmentation.ids``) they are those, with holes and in pieces as they may be.
    What it left over, pixels of a thing class without an id, and everything where the model gives no ids, becomes
    connected components: pixels of one class that touch, corners included.

    An object's score is the mean confidence of its pixels (1 without a confidence map). Where the model gives ids, that
    times the score it gave the id is ``calibrated``; for a component beside ids the former is ``UNCLAIMED_SCORE``, as
    no centre came above it. Objects are sorted by score and numbered from 1. What is smaller than ``min_area`` pixels
    at REFERENCE_SIZE is no object; its pixels keep their class.
    """
    labels, confidence = segmentation.labels, segmentation.confidence
    smallest = max(1.0, min_area * labels.size / (REFERENCE_SIZE[0] * REFERENCE_SIZE[1]))
    if segmentation.detections is not None:
        return pasted(segmentation.detections, labels, classes, least=smallest)
    found = _components(labels, classes.thing_ids()) if segmentation.ids is None else _with_ids(segmentation, classes)
    part, components = found.part, found.components
    count = len(found.class_ids)
    runs = _runs(components) if found.runs is None else found.runs
    areas = np.bincount(runs.component, weights=runs.x1 - runs.x0, minlength=count).astype(np.int32)
    scores = _scores(runs, areas, None if confidence is None else confidence[part]) * found.scores
    if segmentation.ids is not None:
        scores = calibrated(scores, areas)
    boxes = _boxes(runs, count)
    corner = np.array([part[1].start, part[0].start] * 2, np.int32)

    large = np.flatnonzero(areas >= smallest)
    by_score = large[np.argsort(-scores[large], kind="stable")]
    kept = by_score[:MAX_OBJECTS]
    id_of = np.zeros(count, np.uint16)
    id_of[kept] = np.arange(1, len(kept) + 1, dtype=np.uint16)
    ids = np.zeros(labels.shape, np.uint16)
    ids[part] = id_of.take(components)  # indexing would take twice as long
    return Instances(
        class_ids=found.class_ids[kept],
        scores=scores[kept],
        boxes=boxes[kept].astype(np.int32) + corner,
        areas=areas[kept],
        ids=ids,
        truncated=len(by_score) - len(kept),
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Components:
    """Candidates for objects, numbered from 1; index 0 of the arrays is for what belongs to none."""

    part: tuple[slice, slice]  # rows and columns between which all of them lie
    components: npt.NDArray[np.int32]  # (h, w) of that part
    class_ids: npt.NDArray[np.uint8]  # (C + 1,)
    scores: npt.NDArray[np.float32]  # (C + 1,)
    runs: _Runs | None = None  # of the components, where they are known


@dataclass(frozen=True, slots=True)
class _Runs:
    """Horizontal stretches of one component each: far fewer than pixels. All fields are (R,) integers."""

    component: npt.NDArray[np.int32]
    y: npt.NDArray[np.intp]
    x0: npt.NDArray[np.intp]
    x1: npt.NDArray[np.intp]  # one past the end


def _with_ids(segmentation: Segmentation, classes: ClassTable) -> _Components:
    """The model's own objects, and components of the thing pixels that they leave over.

    An id is of its commonest thing class and loses its pixels of others: a model's own graph has none of these, what
    changes labels after it leaves some. Where every thing pixel then has its id, the runs that showed it are
    those of the objects.
    """
    assert segmentation.ids is not None  # who calls it has looked
    assert segmentation.id_scores is not None  # comes with ids
    thing_ids, most = classes.thing_ids(), len(segmentation.id_scores)
    kind_of, kinds = np.zeros(256, np.uint8), len(thing_ids) + 1
    kind_of[list(thing_ids)] = np.arange(1, kinds)
    things = np.asarray(cv2.LUT(segmentation.labels, kind_of), np.uint8)
    x, y, width, height = cv2.boundingRect(things)
    part = np.s_[y : y + height, x : x + width]
    ids, things = segmentation.ids[part].copy(), things[part]
    runs = _runs(ids * np.int32(kinds) + things)
    run_ids, run_kinds = np.divmod(runs.component, kinds)
    lengths = np.where(run_kinds > 0, runs.x1 - runs.x0, 0)
    votes = np.bincount(runs.component, weights=lengths, minlength=(most + 1) * kinds).reshape(-1, kinds)
    elected = votes.argmax(axis=1)
    class_ids = np.array((0, *thing_ids), np.uint8)[elected]
    id_scores = np.concatenate([np.zeros(1, np.float32), segmentation.id_scores])
    if ((run_ids > 0) & (run_kinds > 0) & (run_kinds == elected[run_ids])).all():
        return _Components(part, ids, class_ids, id_scores, _Runs(run_ids, runs.y, runs.x0, runs.x1))
    ids[(things == 0) | (things != elected[ids])] = 0
    over = _components(np.where(ids > 0, np.uint8(VOID), segmentation.labels[part]), thing_ids)
    spare = ids[over.part]
    np.add(over.components, most, out=spare, where=over.components > 0)
    ids[over.part] = spare
    class_ids = np.concatenate([class_ids, over.class_ids[1:]])
    scores = np.concatenate([id_scores, UNCLAIMED_SCORE * over.scores[1:]])
    return _Components(part, ids, class_ids, scores.astype(np.float32))


def _components(labels: LabelMap, thing_ids: tuple[int, ...]) -> _Components:
    """Connected components of every thing class."""
    components = np.zeros(labels.shape, np.int32)
    component_classes = [np.zeros(1, np.uint8)]
    count, left, top, right, bottom = 0, labels.shape[1], labels.shape[0], 0, 0
    for class_id in thing_ids:
        mask = labels == class_id
        if not cv2.hasNonZero(mask.view(np.uint8)):
            continue
        # Statistics from OpenCV would cost ten times the labelling itself; they come from the runs instead.
        x, y, width, height = cv2.boundingRect(mask.view(np.uint8))
        part = np.s_[y : y + height, x : x + width]
        found, numbered = cv2.connectedComponents(mask[part].view(np.uint8), connectivity=8, ltype=cv2.CV_32S)
        np.add(numbered, count, out=components[part], where=mask[part])
        component_classes.append(np.full(found - 1, class_id, np.uint8))
        count += found - 1
        left, top, right, bottom = min(left, x), min(top, y), max(right, x + width), max(bottom, y + height)
    extent = slice(min(top, bottom), bottom), slice(min(left, right), right)
    return _Components(extent, components[extent], np.concatenate(component_classes), np.ones(count + 1, np.float32))


def _runs(components: npt.NDArray[np.int32]) -> _Runs:
    height, width = components.shape
    padded = np.zeros((height, width + 1), np.int32)  # the empty last column ends every row's last run
    padded[:, :width] = components
    flat = padded.ravel()
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    edges = np.concatenate([[0], changes, [flat.size]]) if flat.size else np.zeros(1, np.intp)
    component = flat[edges[:-1]]
    inside = np.flatnonzero(component)
    starts = edges[inside]
    y, x0 = np.divmod(starts, width + 1)
    return _Runs(component[inside], y, x0, x0 + edges[inside + 1] - starts)


def _scores(runs: _Runs, areas: npt.NDArray[np.int32], confidence: ConfidenceMap | None) -> npt.NDArray[np.float32]:
    """(C,) mean confidence of each component in 0..1, 1 without a confidence map."""
    if confidence is None:
        return np.ones(len(areas), np.float32)
    sums = cv2.integral(confidence)  # (h + 1, w + 1) i32: the sum of a run is four look-ups
    above, below = runs.y, runs.y + 1
    totals = sums[below, runs.x1] - sums[below, runs.x0] - sums[above, runs.x1] + sums[above, runs.x0]
    by_component = np.bincount(runs.component, weights=totals, minlength=len(areas))
    return (by_component / np.maximum(areas, 1) / 255).astype(np.float32)


def _boxes(runs: _Runs, count: int) -> npt.NDArray[np.intp]:
    """(C, 4) x0 y0 x1 y1 of each component, half open."""
    x0 = np.full(count, np.iinfo(np.intp).max)
    y0, x1, y1 = x0.copy(), np.zeros(count, np.intp), np.zeros(count, np.intp)
    np.minimum.at(x0, runs.component, runs.x0)
    np.minimum.at(y0, runs.component, runs.y)
    np.maximum.at(x1, runs.component, runs.x1)
    np.maximum.at(y1, runs.component, runs.y + 1)
    return np.stack([x0, y0, x1, y1], axis=1)
