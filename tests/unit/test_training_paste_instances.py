"""Copy-paste of single objects: three maps agree, ids stay unique, and what is nearer hides what is farther."""

from __future__ import annotations

import cv2
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from perception.types import VOID
from training.data.centres import UNKNOWN
from training.data.instances import PER_CLASS
from training.data.paste_instances import Sample, boxes_of, find_instances, paste_instances

ROAD, SKY, PERSON, CAR = 0, 10, 11, 13
HEIGHT, WIDTH = 100, 160
GREY, GREEN = (90, 90, 90), (10, 200, 20)
Box = tuple[int, int, int, int]  # x, y, w, h


def scene(*objects: tuple[int, Box], color: tuple[int, int, int] = GREEN) -> Sample:
    """Sky over road, in grey, with boxes of the given ids; the later ones lie over the earlier."""
    labels = np.full((HEIGHT, WIDTH), ROAD, np.uint8)
    labels[:30] = SKY
    image, ids = np.full((HEIGHT, WIDTH, 3), GREY, np.uint8), np.zeros((HEIGHT, WIDTH), np.uint16)
    for one, (x, y, w, h) in objects:
        place = np.s_[y : y + h, x : x + w]
        labels[place], image[place], ids[place] = VOID if one == UNKNOWN else one // PER_CLASS, color, one
    return image, labels, ids


def pasted(target: Sample, donor: Sample, seed: int) -> Sample:
    return paste_instances(target, donor, find_instances(donor[2]), np.random.default_rng(seed))


def new_ids(before: Sample, after: Sample) -> list[int]:
    return np.setdiff1d(np.unique(after[2]), np.unique(before[2])).tolist()


def test_objects_are_whole_seen_and_of_a_useful_size() -> None:
    _, _, ids = scene(
        (13001, (20, 40, 20, 12)),
        (13002, (0, 40, 12, 12)),  # cut off by the frame
        (13003, (60, 40, 7, 7)),  # too small
        (13004, (40, 60, 80, 40)),  # too large, and cut off
        (11001, (100, 40, 10, 20)),
        (UNKNOWN, (120, 40, 20, 20)),
        (15001, (80, 10, 20, 20)),
        (0, (83, 10, 14, 20)),  # of which little is left
    )
    assert [(cutout.kind, cutout.box) for cutout in find_instances(ids)] == [
        (11001, (100, 40, 10, 20)),
        (13001, (20, 40, 20, 12)),
    ]


def test_what_ends_at_a_border_without_labels_is_cut_off_too() -> None:
    _, _, ids = scene((13001, (5, 40, 20, 12)), (13002, (60, 40, 20, 12)), (13003, (WIDTH - 25, 40, 20, 12)))
    assert len(find_instances(ids)) == 3
    ids[:5] = ids[-5:] = ids[:, :5] = ids[:, -5:] = UNKNOWN  # as Cityscapes leaves it
    assert [cutout.kind for cutout in find_instances(ids)] == [13002]


@settings(deadline=None)
@given(
    st.tuples(st.integers(1, 12), st.integers(1, 12)),
    st.lists(st.sampled_from([0, 0, 0, 11001, 13001, 13999, 18999, UNKNOWN]), min_size=144, max_size=144),
)
def test_boxes_are_the_smallest_around_each_object(size: tuple[int, int], values: list[int]) -> None:
    ids = np.array(values, np.uint16)[: size[0] * size[1]].reshape(size)
    objects = np.setdiff1d(ids, [0, UNKNOWN]).tolist()
    assert boxes_of(ids) == {one: cv2.boundingRect((ids == one).astype(np.uint8)) for one in objects}
    assert list(boxes_of(ids)) == objects


@settings(deadline=None)
@given(st.integers(0, 10**6))
def test_the_three_maps_agree_and_no_id_is_given_twice(seed: int) -> None:
    target = scene((13001, (30, 40, 30, 20)), (11001, (90, 35, 10, 30)), (UNKNOWN, (120, 40, 20, 20)))
    donor = scene((13001, (50, 45, 24, 16)), (11001, (20, 40, 9, 22)), color=(200, 30, 10))
    image, labels, ids = pasted(target, donor, seed)
    new = new_ids(target, (image, labels, ids))
    for one in new:
        assert (labels[ids == one] == one // PER_CLASS).all()
    same = ~np.isin(ids, new)
    assert (ids[same] == target[2][same]).all()
    assert (labels[same] == target[1][same]).all()
    far = cv2.dilate(np.isin(ids, new).astype(np.uint8), np.ones((7, 7), np.uint8)) == 0  # from the soft edges
    assert (image[far] == target[0][far]).all()
    assert (
        target[2] == scene((13001, (30, 40, 30, 20)), (11001, (90, 35, 10, 30)), (UNKNOWN, (120, 40, 20, 20)))[2]
    ).all()


def test_most_objects_are_put_beside_others() -> None:
    target, donor = scene((13001, (60, 40, 30, 20))), scene((13001, (50, 42, 24, 16)))
    touching = found = 0
    for seed in range(60):
        after = pasted(target, donor, seed)
        for one in new_ids(target, after):
            around = cv2.dilate((after[2] == one).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
            touching += bool(np.setdiff1d(after[2][around], [0, one]).size)
            found += 1
    assert found >= 60
    assert touching / found > 0.6


def test_what_stands_nearer_hides_what_stands_farther() -> None:
    near, far = (50, 40, 40, 40), (50, 20, 40, 24)  # feet at rows 80 and 44
    hidden = hiding = 0
    for seed in range(40):
        before = scene((13001, near))
        after = pasted(before, scene((13001, far)), seed)
        hidden += len(new_ids(before, after))
        assert np.count_nonzero(after[2] == 13001) == 40 * 40  # the near one is whole
        before = scene((13001, far))
        after = pasted(before, scene((13001, near)), seed)
        hiding += np.count_nonzero(after[2] == 13001) < 40 * 24
    assert hidden >= 5
    assert hiding >= 5


def test_a_frame_of_another_height_and_a_donor_without_objects_change_nothing() -> None:
    target = scene((13001, (60, 40, 30, 20)))
    donor = scene((13001, (50, 42, 24, 16)))
    cutouts = find_instances(donor[2])
    lower: Sample = (donor[0][:-10], donor[1][:-10], donor[2][:-10])
    assert paste_instances(target, lower, cutouts, np.random.default_rng(0)) is target
    assert paste_instances(target, donor, [], np.random.default_rng(0)) is target


def test_a_class_without_a_free_number_gets_no_object_more() -> None:
    target = scene((13001, (60, 40, 30, 20)))
    target[2][90:].flat[: PER_CLASS - 1] = CAR * PER_CLASS + np.arange(1, PER_CLASS)
    for seed in range(10):
        assert new_ids(target, pasted(target, scene((13001, (50, 42, 24, 16))), seed)) == []
