"""Objects cut from label maps, against a slow and obvious reference and at the edges of what can come."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from perception.classes import CITYSCAPES
from perception.stages.calibration import calibrated
from perception.stages.objects import MAX_OBJECTS, UNCLAIMED_SCORE, objects, separate
from perception.types import CaptureTime, Frame, Instances, Latency, Scene, Segmentation

ROAD, PERSON, CAR, TRUCK, VOID = 0, 11, 13, 14, 255
Labels = npt.NDArray[np.uint8]


def found_in(labels: Labels, confidence: Labels | None = None, min_area: int = 0) -> Instances:
    return separate(Segmentation(labels, confidence), CITYSCAPES, min_area=min_area)


def flood(labels: Labels) -> list[tuple[int, frozenset[tuple[int, int]]]]:
    """Every thing component as (class, pixels), pixel by pixel, corners joining."""
    things, left, found = set(CITYSCAPES.thing_ids()), set(np.ndindex(labels.shape)), []
    while left:
        seed = left.pop()
        class_id = int(labels[seed])
        if class_id not in things:
            continue
        component, border = {seed}, [seed]
        while border:
            y, x = border.pop()
            near = {(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)} & left
            grown = {pixel for pixel in near if labels[pixel] == class_id}
            left -= grown
            component |= grown
            border.extend(grown)
        found.append((class_id, frozenset(component)))
    return found


small_maps = hnp.arrays(
    np.uint8,
    hnp.array_shapes(min_dims=2, max_dims=2, max_side=10),
    elements=st.sampled_from([ROAD, PERSON, CAR, TRUCK, VOID]),
)


@settings(max_examples=150, deadline=None)
@given(labels=small_maps, data=st.data())
def test_agrees_with_flooding(labels: Labels, data: st.DataObject) -> None:
    confidence = data.draw(hnp.arrays(np.uint8, labels.shape))
    instances = found_in(labels, confidence)
    assert instances.ids is not None
    wanted = {pixels: class_id for class_id, pixels in flood(labels)}
    assert len(instances) == len(wanted)
    for index in range(len(instances)):
        mask = instances.ids == index + 1
        ys, xs = np.nonzero(mask)
        pixels = frozenset(zip(ys.tolist(), xs.tolist()))
        assert wanted[pixels] == instances.class_ids[index]
        assert (labels[mask] == instances.class_ids[index]).all()
        assert instances.areas[index] == len(pixels)
        assert instances.boxes[index].tolist() == [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]
        assert instances.scores[index] == pytest.approx(confidence[mask].mean() / 255, abs=1e-5)
    assert (np.diff(instances.scores) <= 0).all()
    assert instances.areas.sum() == np.isin(labels, CITYSCAPES.thing_ids()).sum()
    assert instances.truncated == 0


def test_no_things_are_no_objects() -> None:
    instances = found_in(np.full((64, 128), ROAD, np.uint8))
    assert len(instances) == 0
    assert instances.ids is not None
    assert instances.ids.shape == (64, 128)
    assert not instances.ids.any()


def test_one_object_may_fill_the_map() -> None:
    instances = found_in(np.full((512, 1024), CAR, np.uint8), np.full((512, 1024), 255, np.uint8))
    assert instances.boxes.tolist() == [[0, 0, 1024, 512]]
    assert instances.areas.tolist() == [512 * 1024]
    assert instances.scores.tolist() == [1.0]


def test_objects_cut_by_the_border_and_rows_that_follow_each_other_stay_apart() -> None:
    labels = np.zeros((4, 6), np.uint8)
    labels[0, 4:] = CAR  # ends row 0; the next begins row 2 on the other side
    labels[1, 5] = CAR
    labels[2, 0] = CAR
    instances = found_in(labels)
    assert sorted(instances.boxes.tolist()) == [[0, 2, 1, 3], [4, 0, 6, 2]]


def test_neighbours_of_different_class_are_different_objects() -> None:
    labels = np.full((8, 8), CAR, np.uint8)
    labels[:, 4:] = TRUCK
    instances = found_in(labels)
    assert sorted(zip(instances.class_ids.tolist(), instances.areas.tolist())) == [(CAR, 32), (TRUCK, 32)]


def test_small_components_are_no_objects_and_the_limit_scales_with_the_map() -> None:
    labels = np.zeros((256, 512), np.uint8)  # a quarter of the reference
    labels[10:14, 10:14] = CAR  # 16 px: exactly a quarter of 64
    labels[100:103, 100:105] = PERSON  # 15 px
    instances = found_in(labels, min_area=64)
    assert instances.class_ids.tolist() == [CAR]
    assert instances.ids is not None
    assert not instances.ids[100:103, 100:105].any()


def test_without_confidence_every_score_is_one() -> None:
    labels = np.zeros((16, 16), np.uint8)
    labels[2:5, 2:5] = labels[9:12, 9:12] = CAR
    assert found_in(labels).scores.tolist() == [1.0, 1.0]


def test_more_objects_than_ids_lose_the_lowest_scores() -> None:
    labels = np.zeros((600, 600), np.uint8)
    labels[::2, ::2] = CAR  # 90,000 single pixels
    confidence = np.random.default_rng(0).integers(0, 256, labels.shape, dtype=np.uint8)
    instances = found_in(labels, confidence)
    assert len(instances) == MAX_OBJECTS
    assert instances.truncated == 90_000 - MAX_OBJECTS
    assert instances.ids is not None
    assert instances.ids.max() == MAX_OBJECTS
    left_out = (labels == CAR) & (instances.ids == 0)
    assert left_out.sum() == instances.truncated
    assert confidence[left_out].max() / 255 <= instances.scores.min() + 1e-6
    assert np.bincount(instances.ids.ravel())[1:].tolist() == instances.areas.tolist()


def with_ids(labels: Labels, ids: npt.ArrayLike, scores: list[float], confidence: Labels | None = None) -> Instances:
    given = np.broadcast_to(np.asarray(ids, np.int32), labels.shape)
    segmentation = Segmentation(labels, confidence, given, np.array(scores, np.float32))
    return separate(segmentation, CITYSCAPES, min_area=0)


def test_cars_that_touch_are_two_where_the_model_says_so() -> None:
    labels = np.zeros((6, 10), np.uint8)
    labels[2:5, 1:9] = CAR
    ids = np.zeros((6, 10), np.int32)
    ids[2:5, 1:5], ids[2:5, 5:9] = 3, 1
    confidence = np.full((6, 10), 204, np.uint8)
    instances = with_ids(labels, ids, [0.5, 0.0, 1.0], confidence)
    assert instances.boxes.tolist() == [[1, 2, 5, 5], [5, 2, 9, 5]]
    raw = np.array([0.8, 0.4])  # mean confidence times the centre's score
    assert instances.scores == pytest.approx(calibrated(raw, np.array([12, 12])))
    assert instances.class_ids.tolist() == [CAR, CAR]
    assert len(found_in(labels)) == 1


def test_an_object_may_lie_in_pieces() -> None:
    labels = np.zeros((4, 12), np.uint8)
    labels[1:3, 1:4] = labels[1:3, 8:11] = CAR  # a pole between them
    instances = with_ids(labels, (labels > 0).astype(np.int32), [0.9])
    assert instances.boxes.tolist() == [[1, 1, 11, 3]]
    assert instances.areas.tolist() == [12]


def test_what_no_centre_claims_becomes_components_of_a_low_score() -> None:
    labels = np.zeros((6, 12), np.uint8)
    labels[1:3, 1:3] = labels[1:3, 5:7] = CAR
    labels[4:6, 9:12] = PERSON
    ids = np.zeros((6, 12), np.int32)
    ids[1:3, 1:3] = 2
    instances = with_ids(labels, ids, [0.0, 0.9])
    expected = calibrated(np.array([UNCLAIMED_SCORE, UNCLAIMED_SCORE, 0.9]), np.array([6, 4, 4])).tolist()
    found = sorted(zip(instances.class_ids.tolist(), instances.scores.tolist()))
    assert found == [(c, pytest.approx(score)) for c, score in zip((PERSON, CAR, CAR), expected)]


def test_labels_changed_after_the_model_leave_the_object() -> None:
    labels = np.full((4, 8), CAR, np.uint8)
    labels[:, 6:] = TRUCK
    labels[0, 0], labels[3, 0] = VOID, ROAD
    instances = with_ids(labels, 1, [0.9])
    assert instances.ids is not None
    assert sorted(zip(instances.class_ids.tolist(), instances.areas.tolist())) == [(CAR, 22), (TRUCK, 8)]
    for index, class_id in enumerate(instances.class_ids, start=1):
        assert (labels[instances.ids == index] == class_id).all()


def test_ids_on_stuff_are_no_objects() -> None:
    assert len(with_ids(np.full((4, 4), ROAD, np.uint8), 1, [0.9])) == 0


@settings(max_examples=100, deadline=None)
@given(labels=small_maps, data=st.data())
def test_whatever_the_ids_every_thing_pixel_is_in_one_object_of_its_class(labels: Labels, data: st.DataObject) -> None:
    ids = data.draw(hnp.arrays(np.int32, labels.shape, elements=st.integers(0, 4)))
    instances = with_ids(labels, ids, [0.9, 0.5, 0.7, 0.2])
    assert instances.ids is not None
    assert ((instances.ids > 0) == np.isin(labels, CITYSCAPES.thing_ids())).all()
    for index in range(len(instances)):
        mask = instances.ids == index + 1
        ys, xs = np.nonzero(mask)
        assert (labels[mask] == instances.class_ids[index]).all()
        assert instances.areas[index] == mask.sum() > 0
        assert instances.boxes[index].tolist() == [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]
        if instances.scores[index] > 1.01 * calibrated(np.array([UNCLAIMED_SCORE]), instances.areas[[index]])[0]:
            assert len(set(ids[mask])) == 1
    assert (np.diff(instances.scores) <= 0).all()


def test_65535_ids_and_more() -> None:
    labels = np.zeros((600, 600), np.uint8)
    labels[::2, ::2] = CAR
    ids = np.zeros(labels.shape, np.int32)
    ids[::2, ::2] = np.arange(1, 90_001).reshape(300, 300)
    instances = with_ids(labels, ids, np.linspace(0, 1, 90_000).tolist())
    assert len(instances) == MAX_OBJECTS
    assert instances.truncated == 90_000 - MAX_OBJECTS
    best_left_out = calibrated(np.array([0.27]), np.array([1]))[0]
    assert instances.scores.min() >= best_left_out  # the lowest are those left out


def scene_of(labels: Labels | None) -> Scene:
    frame = Frame("front", 0, CaptureTime.now(), np.zeros((8, 8, 3), np.uint8))
    return Scene(frame, Latency(frame.time.captured_mono_ns), None if labels is None else Segmentation(labels))


def test_the_stage_finds_objects_only_while_they_are_wanted() -> None:
    wanted = iter([True, False, True])
    stage = objects(CITYSCAPES, wanted=lambda _: next(wanted), min_area=0)
    labels = np.full((4, 4), CAR, np.uint8)
    scenes = list(stage([scene_of(labels)] * 3))
    assert [scene.instances is not None for scene in scenes] == [True, False, True]
    assert ["instances" in scene.latency.spent_ns for scene in scenes] == [True, False, True]


def test_the_stage_passes_scenes_that_were_not_segmented() -> None:
    (scene,) = objects(CITYSCAPES)([scene_of(None)])
    assert scene.instances is None
