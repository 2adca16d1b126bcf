"""Objects cut from label maps, against a slow and obvious reference and at the edges of what can come."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from perception.classes import CITYSCAPES
from perception.stages.objects import MAX_OBJECTS, objects, separate
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
