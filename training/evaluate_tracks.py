"""Score the tracks of a model on rendered drives: the node's own stages find and track, exact truth judges."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from perception.errors import ModelError
from perception.types import CaptureTime, Frame, Instances
from training.data.datasets import Pair
from training.data.rendered import StreetFrame
from training.evaluate_objects import Find, enlarge, read_truth, values_by_drawn_id, whole_masks
from training.metrics.overlaps import NUMBERS, InstanceTruth, Overlaps, overlaps_of_ids, overlaps_of_masks
from training.metrics.tracking import Similarity, TrackingScore, TrackingTally, Tracks
from training.synth import FPS

SECOND_NS = 1_000_000_000
MIN_SCORE = 0.5  # of an object that a reader of tracks would believe in


def score_tracks(
    find: Find, drives: Mapping[str, Sequence[StreetFrame]], *, min_area: int, min_score: float = MIN_SCORE
) -> dict[str, TrackingScore]:
    """MOTA, IDF1 and HOTA by drive, and of ``all`` together where there are several.

    A true object counts in the frames where it has ``min_area`` pixels of the image, a predicted one where its score
    is at least ``min_score``: a node publishes what it doubts as well, for readers to choose from, and MOTA would count
    each as wrong.

    A predicted object of which more than half lies on smaller ones does not count either. Overlap is that of masks,
    and of objects of one class only.

    Raises:
        ConfigError: what scores tracks is not installed.
        EngineError: the engine fails.
    """
    together, tallies = TrackingTally(), {name: TrackingTally() for name in drives}
    for name, drive in drives.items():
        together.restart()
        for truth, tracks, shape, found in _answers(find, drive, name):
            counted = _counted(_overlaps(truth, shape, found), tracks, found, (min_area, min_score))
            tallies[name].add(*counted)
            together.add(*counted)
    scores = {name: tally.score() for name, tally in tallies.items()}
    return scores if len(scores) < 2 else {**scores, "all": together.score()}


def _overlaps(truth: InstanceTruth, shape: tuple[int, ...], found: Instances) -> Overlaps:
    codes = truth.codes()
    if found.ids is not None:
        return overlaps_of_ids(codes, enlarge(found.ids, codes.shape), len(found))
    return overlaps_of_masks(codes, [enlarge(mask, codes.shape) for mask in whole_masks(found, shape)])


def _counted(
    table: Overlaps, tracks: dict[int, int], found: Instances, least: tuple[int, float]
) -> tuple[Tracks, Tracks, Similarity]:
    """What of one frame counts: tracks of true and of predicted objects, and how they overlap.

    ``least`` are the area of a true object and the score of a predicted one.
    """
    if found.tracks is None:
        raise ModelError("The objects have no tracks.")
    objects = table.codes >= NUMBERS
    large = objects & (table.truth_areas >= least[0])
    shared, union = table.shared, table.truth_areas[:, None] + table.areas - table.shared
    alike = table.codes[:, None] // NUMBERS == found.class_ids
    similarity = np.where(alike, shared / np.maximum(union, 1), 0.0)[large]
    on_small = shared[objects & ~large].sum(axis=0) > table.areas / 2
    kept = (table.areas > 0) & (found.scores >= least[1]) & ~(on_small & (similarity.max(axis=0, initial=0) < 0.5))
    truth = np.array([tracks[code] for code in table.codes[large].tolist()], np.int64)
    return truth, found.tracks[kept], similarity[:, kept]


def _answers(
    find: Find, drive: Sequence[StreetFrame], stream: str
) -> Iterator[tuple[InstanceTruth, dict[int, int], tuple[int, ...], Instances]]:
    """Truth, the track of every true object by its value, the map's shape, and the objects found, frame by frame."""
    truths: deque[tuple[InstanceTruth, dict[int, int]]] = deque()

    def frames() -> Iterator[Frame]:
        for number, frame in enumerate(drive):
            image, truth = read_truth(Pair(frame.path, frame.path, "synth", frame))
            drawn = frame.draw()
            values = values_by_drawn_id(drawn, truth.instances)
            truths.append((truth, {values[thing.instance_id]: thing.track for thing in drawn.objects}))
            now = CaptureTime.now(round(frame.number * SECOND_NS / FPS), "virtual")
            yield Frame(stream, number, now, image)

    for scene in find(frames()):
        if scene.segmentation is None or scene.instances is None:
            raise ModelError("The model gives no objects: its class table has no countable class.")
        truth, tracks = truths.popleft()
        yield truth, tracks, scene.segmentation.labels.shape, scene.instances
