"""Objects from boxes and masks: against an enlargement written point by point, and at the edges of what can come."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perception.classes import CITYSCAPES
from perception.engines.answers import check_outputs
from perception.engines.recorded import RecordedEngine
from perception.errors import EngineError
from perception.stages.objects import separate
from perception.stages.pasting import enlarged, pasted
from perception.stages.segment import segment
from perception.types import VOID, CaptureTime, Detections, Frame, Latency, Scene, Segmentation

PERSON, CAR = 11, 13
ROAD = np.zeros((24, 32), np.uint8)


def found(boxes: list[list[float]], scores: list[float], classes: list[int], masks: Any = None) -> Detections:
    count = len(boxes)
    return Detections(
        np.array(boxes, np.float32).reshape(count, 4),
        np.array(scores, np.float32),
        np.array(classes, np.int32),
        np.ones((count, 4, 4), np.float32) if masks is None else np.asarray(masks, np.float32),
    )


def value_at(mask: npt.NDArray[Any], v: float, u: float) -> float:
    """Bilinear, the border repeating; v, u in cells, whose middles are whole numbers."""
    total, (height, width) = 0.0, mask.shape
    y, x = int(np.floor(v)), int(np.floor(u))
    for dy in (0, 1):
        for dx in (0, 1):
            weight = (1 - abs(v - y - dy)) * (1 - abs(u - x - dx))
            total += weight * mask[min(max(y + dy, 0), height - 1), min(max(x + dx, 0), width - 1)]
    return total


edges = st.floats(-20, 50, width=32)


@settings(deadline=None, max_examples=60)
@given(box=st.tuples(edges, edges, edges, edges), seed=st.integers(0, 99))
def test_enlargement_is_bilinear(box: tuple[float, float, float, float], seed: int) -> None:
    x0, x1 = sorted((box[0], box[2]))
    y0, y1 = sorted((box[1], box[3]))
    mask = np.random.default_rng(seed).random((5, 5)).astype(np.float32)
    x, y, values = enlarged(mask, np.array([x0, y0, x1, y1], np.float32), ROAD.shape)
    assert values.shape[0] == max(0, min(24, np.ceil(y1)) - max(0, np.floor(y0)))
    assert values.shape[1] == max(0, min(32, np.ceil(x1)) - max(0, np.floor(x0)))
    if not values.size or min(x1 - x0, y1 - y0) < 0.1:
        return
    for row, column in ((0, 0), (values.shape[0] - 1, values.shape[1] // 2)):
        v = (y + row + 0.5 - y0) / (y1 - y0) * 5 - 0.5
        u = (x + column + 0.5 - x0) / (x1 - x0) * 5 - 0.5
        assert values[row, column] == pytest.approx(value_at(mask, v, u), abs=2e-3)


def test_objects_overlap_and_come_best_first() -> None:
    objects = pasted(found([[2, 2, 10, 10], [6, 4, 20, 12]], [0.5, 0.9], [PERSON, CAR]), ROAD, CITYSCAPES, least=1)
    assert objects.class_ids.tolist() == [CAR, PERSON]
    assert objects.scores.tolist() == pytest.approx([0.9, 0.5])
    assert objects.boxes.tolist() == [[6, 4, 20, 12], [2, 2, 10, 10]]
    assert objects.areas.tolist() == [14 * 8, 64]
    assert objects.masks is not None
    assert all(mask.all() for mask in objects.masks)


def test_a_box_shrinks_to_its_mask_and_the_score_is_that_of_its_pixels() -> None:
    mask = np.zeros((1, 4, 4), np.float32)
    mask[0, :2] = 0.8
    objects = pasted(found([[4, 4, 12, 12]], [0.5], [CAR], mask), ROAD, CITYSCAPES, least=1)
    (x0, y0, x1, y1) = objects.boxes[0].tolist()
    assert (x0, y0, x1) == (4, 4, 12)
    assert y1 == 8
    assert 0.25 < objects.scores[0] <= 0.4 + 1e-6


@pytest.mark.parametrize(
    ("box", "score", "class_id", "value"),
    [
        ([4, 4, 12, 12], 0.0, CAR, 1.0),  # nothing
        ([4, 4, 12, 12], 0.9, 0, 1.0),  # road is not countable
        ([4, 4, 12, 12], 0.9, CAR, 0.4),  # an empty mask
        ([4, 4, 4, 12], 0.9, CAR, 1.0),  # a box without width
        ([40, 4, 50, 12], 0.9, CAR, 1.0),  # outside
        ([4, 4, 6, 5], 0.9, CAR, 1.0),  # too small
    ],
)
def test_what_is_no_object(box: list[float], score: float, class_id: int, value: float) -> None:
    objects = pasted(found([box], [score], [class_id], np.full((1, 4, 4), value)), ROAD, CITYSCAPES, least=4)
    assert len(objects) == 0
    assert objects.boxes.shape == (0, 4)


def test_a_box_over_the_whole_map_and_beyond() -> None:
    objects = pasted(found([[-9, -9, 99, 99]], [0.9], [CAR]), ROAD, CITYSCAPES, least=1)
    assert objects.boxes.tolist() == [[0, 0, 32, 24]]


def test_there_is_no_object_in_what_is_void() -> None:
    labels = ROAD.copy()
    labels[:, :8] = VOID
    segmentation = Segmentation(labels, detections=found([[4, 4, 12, 12], [0, 0, 7, 7]], [0.9, 0.8], [CAR, CAR]))
    objects = separate(segmentation, CITYSCAPES, min_area=0)
    assert objects.boxes.tolist() == [[8, 4, 12, 12]]


def test_boxes_come_in_pixels_of_the_network_and_leave_in_those_of_the_map() -> None:
    outputs = {
        "labels": ROAD[None],
        "boxes": np.array([[[8, 16, 24, 32]]], np.float32),
        "scores": np.ones((1, 1), np.float32),
        "class_ids": np.full((1, 1), CAR, np.int32),
        "masks": np.ones((1, 1, 4, 4), np.float32),
    }
    stage = segment(RecordedEngine(outputs), size=lambda _: (64, 48))
    image = np.zeros((48, 64, 3), np.uint8)
    (scene,) = stage([Scene(Frame("a", 0, CaptureTime.now(), image), Latency(0))])
    assert scene.segmentation is not None
    objects = separate(scene.segmentation, CITYSCAPES, min_area=0)
    assert objects.boxes.tolist() == [[4, 8, 12, 16]]


@pytest.mark.parametrize(
    ("name", "shape"), [("boxes", (1, 3, 5)), ("scores", (1, 2)), ("masks", (1, 3, 0, 4)), ("masks", (1, 2, 4, 4))]
)
def test_answers_that_do_not_belong_together_are_refused(name: str, shape: tuple[int, ...]) -> None:
    outputs: dict[str, Any] = {
        "labels": ROAD[None],
        "boxes": np.zeros((1, 3, 4), np.float32),
        "scores": np.zeros((1, 3), np.float32),
        "class_ids": np.zeros((1, 3), np.int32),
        "masks": np.zeros((1, 3, 4, 4), np.float32),
    }
    spec = RecordedEngine(outputs).spec
    check_outputs(spec, (1, 48, 64, 3), outputs)
    nothing = {key: array if key == "labels" else array[:, :0] for key, array in outputs.items()}
    check_outputs(spec, (1, 48, 64, 3), nothing)  # a model whose number of boxes changes may find none
    with pytest.raises(EngineError, match="do not belong together"):
        check_outputs(spec, (1, 48, 64, 3), {**outputs, name: np.zeros(shape, np.float32)})
    with pytest.raises(EngineError, match="no numbers"):
        check_outputs(spec, (1, 48, 64, 3), {**outputs, "boxes": outputs["boxes"] * np.nan})
    with pytest.raises(EngineError, match="no numbers"):  # else a score of 1 would come of it
        check_outputs(spec, (1, 48, 64, 3), {**outputs, "scores": outputs["scores"] * np.nan})
