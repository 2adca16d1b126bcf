"""What a Keras model with a head finds in a frame: objects as the node makes them of the same outputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import keras
import numpy as np
import numpy.typing as npt

from perception.classes import CITYSCAPES
from perception.geometry import fit_size
from perception.stages.boundaries import group_by_boundaries
from perception.stages.centres import CentreSettings, group_by_centres
from perception.stages.objects import separate
from perception.stages.prepare import prepare
from perception.stages.votes import Grouped
from perception.types import ConfidenceMap, Image, LabelMap, Segmentation
from training.data.datasets import Pair
from training.evaluate_objects import enlarge, read_truth
from training.metrics import InstanceScore, InstanceTally

CAR = 13
Floats = npt.NDArray[np.float32]
# Every pixel of a thing belongs to the nearest centre: small cars that touch are lost where near misses are refused.
_ANY_DISTANCE = CentreSettings(reach=64)


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """The objects of one frame, N of them, at network size."""

    labels: LabelMap  # (h, w) u8 train ids
    ids: npt.NDArray[np.int32]  # (h, w) 0 = none, else 1..N
    class_ids: npt.NDArray[np.uint8]  # (N,)
    scores: npt.NDArray[np.float32]  # (N,) as the node has them
    maps: Mapping[str, Floats]  # the head's outputs, (h', w', C) each


Finder = Callable[[Image], Found]


def has_head(model: keras.Model) -> bool:
    """Whether a model tells objects apart by outputs of its own."""
    return not {"centres", "boundary"}.isdisjoint(model.output_names)


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """What a model with a head says of one frame, at network size (h, w), before anything is grouped."""

    labels: LabelMap  # (h, w) u8 train ids
    confidence: ConfidenceMap  # (h, w) u8
    maps: Mapping[str, Floats]  # the head's outputs, (h', w', C) each


def keras_finder(model: keras.Model, pixels: int) -> Finder:
    """Find objects with a model that has a head, frames being brought to ``pixels`` as the node does."""
    return lambda image: grouped_objects(answers_of(model, image, pixels))


def answers_of(model: keras.Model, image: Image, pixels: int) -> Answers:
    """A model's answers on a frame that is brought to ``pixels`` as the node does.

    Logits are brought to network size bilinearly, as a graph does that is exported with ``--label-stride 1``.
    """
    height, width = image.shape[:2]
    frame = prepare(image, fit_size((width, height), pixels))
    answers = dict(zip(model.output_names, model.predict_on_batch(frame[None])))
    maps = {name: np.asarray(answer, np.float32)[0] for name, answer in answers.items()}
    logits = cv2.resize(maps.pop("logits"), frame.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    confidence = np.round(255 / exponentials.sum(axis=-1)).astype(np.uint8)
    return Answers(logits.argmax(axis=-1).astype(np.uint8), confidence, maps)


def grouped_objects(answers: Answers) -> Found:
    """The objects that a head's answers make, those of any size, by the node's own stage."""
    grouped = _group(answers)
    segmentation = Segmentation(grouped.labels, grouped.confidence, ids=grouped.ids, id_scores=grouped.id_scores)
    found = separate(segmentation, CITYSCAPES, min_area=0)
    assert found.ids is not None  # only boxes give masks
    return Found(grouped.labels, found.ids.astype(np.int32), found.class_ids, found.scores, answers.maps)


def _group(answers: Answers) -> Grouped:
    things, maps, confidence = CITYSCAPES.thing_ids(), answers.maps, answers.confidence
    if "boundary" in maps:
        body, border = np.ascontiguousarray(maps["boundary"].transpose(2, 0, 1))
        return group_by_boundaries(answers.labels, confidence, body, border, things)
    offsets = np.ascontiguousarray(maps["offsets"].transpose(2, 0, 1))
    return group_by_centres(answers.labels, confidence, maps["centres"][..., 0], offsets, things, _ANY_DISTANCE)


def score_objects(find: Finder, pairs: Sequence[Pair], *, min_area: int = 100) -> dict[str, Any]:
    """AP over all classes, of cars, and the share of touching pairs that are told apart.

    Raises:
        ConfigError: the data set does not tell objects apart.
        SourceError: an image or its truth cannot be read.
    """
    tally = InstanceTally(min_area)
    for pair in pairs:
        image, truth = read_truth(pair)
        found = find(image)
        tally.add(truth, enlarge(found.ids, truth.labels.shape), found.class_ids, found.scores)
    return figures_of(tally.score())


def figures_of(score: InstanceScore) -> dict[str, float]:
    """What a run's metrics say of its objects, by name, but what the data set has nothing for."""
    car, car50 = score.of(CAR)
    named = {
        "AP": score.mean(),
        "AP50": score.mean(score.ap[:, :1]),
        "car AP": car,
        "car AP50": car50,
        "told apart": score.touching.share,
    }
    return {name: round(value, 4) for name, value in named.items() if np.isfinite(value)}
