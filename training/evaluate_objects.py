"""Score a model's objects on labelled images: the node's own stages find them, the benchmark's rules judge them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from perception.choices import choose_network_size
from perception.config import NodeConfig
from perception.engines.engine import Engine
from perception.errors import ModelError
from perception.stages.judged import judged
from perception.stages.segment import segment
from perception.synth.street import SynthFrame
from perception.types import VOID, CaptureTime, Frame, Instances, LabelMap, Latency, Scene, Size
from training.data.datasets import Pair, read_pair
from training.data.instances import read_instances
from training.data.taxonomy import CLASSES
from training.metrics import InstanceScore, InstanceTally, InstanceTruth, PanopticScore, PanopticTally

Find = Callable[[Iterable[Frame]], Iterator[Scene]]  # frames to scenes with their segmentation and objects


def engine_finder(engine: Engine, *, size: Size | int | None = None) -> Find:
    """Find objects as a node does that runs ``engine``, with every setting at its default but ``size``.

    Raises:
        ModelError: the model knows classes that no truth has.
    """
    foreign = [f"{row.name!r} ({row.id})" for row in engine.spec.classes.rows if row.id >= CLASSES]
    if foreign:
        raise ModelError(
            f"The model knows the classes {', '.join(foreign)}; only models of {CLASSES} classes can be scored."
        )
    config = NodeConfig(source="frames", size=size)
    network = segment(engine, size=choose_network_size(config, engine.spec))
    judge = judged(config, (), lambda _: engine.spec.classes, wanted=lambda _, kind: kind == "objects")

    def find(frames: Iterable[Frame]) -> Iterator[Scene]:
        return judge(network(Scene(frame, Latency(frame.time.captured_mono_ns)) for frame in frames))

    return find


def read_truth(pair: Pair) -> tuple[npt.NDArray[np.uint8], InstanceTruth]:
    """The image of a pair, (H, W, 3) u8 BGR, and what is true of it. Rendered frames know distances.

    Raises:
        ConfigError: the pair's kind does not tell objects apart.
        SourceError: a file is missing or cannot be read.
    """
    image, values = read_pair(pair)
    labels = np.where(values < CLASSES, values, VOID).astype(np.uint8)
    instances, distances = read_instances(pair), {}
    if pair.frame is not None:
        drawn = pair.frame.draw()
        values_of = values_by_drawn_id(drawn, instances)
        distances = {values_of[thing.instance_id]: thing.distance for thing in drawn.objects}
    return image, InstanceTruth(labels, instances, distances)


def values_by_drawn_id(drawn: SynthFrame, instances: npt.NDArray[np.int32]) -> dict[int, int]:
    """What an object of a rendered frame is called in the (H, W) instance map made of it, by its id in the frame."""
    ids, places = np.unique(drawn.instances, return_index=True)
    return dict(zip(ids.tolist(), instances.ravel()[places].tolist()))


def score_instances(find: Find, pairs: Sequence[Pair], *, min_area: int) -> InstanceScore:
    """Average precision over all pairs; true objects of less than ``min_area`` image pixels are ignored.

    Raises:
        ConfigError: a pair's kind does not tell objects apart.
        SourceError: an image or its labels cannot be read.
        EngineError: the engine fails.
    """
    tally = InstanceTally(min_area)
    for truth, labels, found in answers(find, pairs):
        shape = truth.labels.shape
        if found.ids is not None:
            tally.add(truth, enlarge(found.ids, shape), found.class_ids, found.scores)
        else:
            masks = [enlarge(mask, shape) for mask in whole_masks(found, labels.shape)]
            tally.add_masks(truth, masks, found.class_ids, found.scores)
    return tally.score()


def score_panoptic(find: Find, pairs: Sequence[Pair]) -> PanopticScore:
    """Panoptic quality over all pairs. Errors as ``score_instances``, and a ModelError where objects overlap."""
    tally = PanopticTally()
    for truth, labels, found in answers(find, pairs):
        if found.ids is None:
            raise ModelError("A panoptic score needs objects that do not overlap; this model's do.")
        shape = truth.labels.shape
        tally.add(truth, enlarge(labels, shape), enlarge(found.ids, shape), found.class_ids)
    return tally.score()


def enlarge(values: npt.NDArray[Any], shape: tuple[int, ...]) -> npt.NDArray[Any]:
    """An (h, w) map at (H, W), by nearest, as a subscriber sees it that enlarges it."""
    if values.shape == shape:
        return values
    kept = values.view(np.uint8) if values.dtype == np.bool_ else values
    enlarged = cv2.resize(kept, (shape[1], shape[0]), interpolation=cv2.INTER_NEAREST_EXACT)
    return np.asarray(enlarged, values.dtype)


def whole_masks(instances: Instances, shape: tuple[int, ...]) -> Iterator[npt.NDArray[np.bool_]]:
    """The (h, w) mask of every object, from the crops of those that overlap."""
    for crop, (x0, y0, x1, y1) in zip(instances.masks or (), instances.boxes):
        mask = np.zeros(shape, np.bool_)
        mask[y0:y1, x0:x1] = crop
        yield mask


def answers(find: Find, pairs: Sequence[Pair]) -> Iterator[tuple[InstanceTruth, LabelMap, Instances]]:
    """Truth, labels and objects of each pair. The images are read ahead, in the thread that feeds the network."""
    truths: deque[InstanceTruth] = deque()

    def frames() -> Iterator[Frame]:
        for number, pair in enumerate(pairs):
            image, truth = read_truth(pair)
            truths.append(truth)
            yield Frame("evaluate", number, CaptureTime.now(clock="virtual"), image)

    for scene in find(frames()):
        if scene.segmentation is None or scene.instances is None:
            raise ModelError("The model gives no objects: its class table has no countable class.")
        yield truths.popleft(), scene.segmentation.labels, scene.instances
