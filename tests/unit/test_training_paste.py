"""Copy-paste: image and label go together, to a place that makes sense, and nothing else changes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tiny_data import write_png

from perception.types import VOID
from training.data.augment import Augmentation
from training.data.datasets import Pair
from training.data.paste import find_cutouts, paste_objects
from training.data.samples import Mixture, Sampler
from training.data.taxonomy import values_within

ROAD, BUILDING, POLE, LIGHT, SIGN, SKY, PERSON, RIDER, CAR, TRUCK, BICYCLE = 0, 2, 5, 6, 7, 10, 11, 12, 13, 14, 18
HEIGHT, WIDTH = 100, 160
GREEN, GREY = (10, 200, 20), (90, 90, 90)


def scene(*objects: tuple[int, tuple[int, int, int, int]]) -> tuple[np.ndarray, np.ndarray]:
    """Sky over road, in grey, with green boxes (x, y, w, h) of the given labels."""
    labels = np.full((HEIGHT, WIDTH), ROAD, np.uint8)
    labels[:40] = SKY
    image = np.full((HEIGHT, WIDTH, 3), GREY, np.uint8)
    for value, (x, y, w, h) in objects:
        labels[y : y + h, x : x + w] = value
        image[y : y + h, x : x + w] = GREEN
    return image, labels


def pasted(
    target: tuple[np.ndarray, np.ndarray], donor: tuple[np.ndarray, np.ndarray], seed: int
) -> tuple[np.ndarray, np.ndarray]:
    return paste_objects(*target, donor, find_cutouts(donor[1]), np.random.default_rng(seed))


def test_objects_are_connected_whole_and_of_a_useful_size() -> None:
    _, labels = scene(
        (PERSON, (20, 40, 8, 20)),
        (PERSON, (40, 40, 8, 20)),
        (PERSON, (0, 40, 8, 20)),  # cut off by the frame
        (PERSON, (60, 45, 3, 3)),  # too small
        (TRUCK, (70, 30, 80, 60)),  # too large
        (CAR, (100, 92, 20, 5)),  # not rare
    )
    assert [cutout.box for cutout in find_cutouts(labels)] == [(20, 40, 8, 20), (40, 40, 8, 20)]


def test_what_ends_at_a_border_without_labels_is_cut_off_too() -> None:
    _, labels = scene((PERSON, (5, 40, 8, 20)), (PERSON, (60, 40, 8, 20)), (PERSON, (WIDTH - 13, 40, 8, 20)))
    assert len(find_cutouts(labels)) == 3
    labels[:5] = labels[-5:] = labels[:, :5] = labels[:, -5:] = VOID  # as Cityscapes leaves it
    assert [cutout.box for cutout in find_cutouts(labels)] == [(60, 40, 8, 20)]


def test_what_belongs_together_is_one_object() -> None:
    _, labels = scene(
        (RIDER, (20, 40, 8, 20)), (BICYCLE, (16, 60, 16, 12)), (SIGN, (60, 20, 10, 10)), (POLE, (64, 30, 2, 40))
    )
    assert sorted(cutout.box for cutout in find_cutouts(labels)) == [(16, 40, 16, 32), (60, 20, 10, 50)]


def test_coarse_labels_are_cut_out_as_well() -> None:
    signs, riders = max(values_within((LIGHT, SIGN))), max(values_within((RIDER, 17, BICYCLE)))
    assert min(signs, riders) > 18
    _, labels = scene((int(signs), (20, 40, 8, 20)), (int(riders), (60, 50, 10, 20)))
    assert len(find_cutouts(labels)) == 2


@pytest.mark.parametrize("labels", [np.full((5, 5), VOID, np.uint8), np.full((1, 1), PERSON, np.uint8)])
def test_labels_without_an_object_have_none(labels: np.ndarray) -> None:
    assert find_cutouts(labels) == []


@pytest.mark.parametrize("seed", range(20))
def test_image_and_label_change_together_and_the_rows_stay(seed: int) -> None:
    target = scene()
    image, labels = pasted(target, scene((PERSON, (70, 45, 8, 25))), seed)
    changed = labels != target[1]
    assert changed.any()
    assert set(np.unique(labels[changed])) == {PERSON}
    rows = np.flatnonzero(changed.any(axis=1))
    assert abs(rows[0] - 45) <= 2
    assert 25 <= len(rows) <= 29  # it may be pasted three times
    green = image[..., 1] > image[..., 0].astype(int) + 60
    inner = (
        changed & np.roll(changed, 1, 1) & np.roll(changed, -1, 1) & np.roll(changed, 1, 0) & np.roll(changed, -1, 0)
    )
    assert green[inner].all()
    assert (image[~changed] == target[0][~changed]).all()
    soft = changed & ~inner
    assert (image[soft][:, 1] < image[inner][:, 1].max()).any()  # the edge is a mixture
    assert (target[1] == scene()[1]).all()  # the target itself is shared, and untouched


def test_objects_stand_on_the_ground_and_cover_no_other() -> None:
    donor = scene((PERSON, (70, 45, 8, 25)))
    water = scene()
    water[1][:] = BUILDING
    crowded = scene((CAR, (0, 40, WIDTH, 29)))
    for seed in range(20):
        assert (pasted(water, donor, seed)[1] == BUILDING).all()
        assert (pasted(crowded, donor, seed)[1] == crowded[1]).all()


def test_a_hanging_light_needs_no_ground() -> None:
    water = scene()
    water[1][:] = BUILDING
    found = [LIGHT in pasted(water, scene((LIGHT, (70, 10, 8, 14))), seed)[1] for seed in range(5)]
    assert all(found)


def test_a_pole_that_leaves_the_frame_above_still_does() -> None:
    for seed in range(10):
        _, labels = pasted(scene(), scene((POLE, (70, 0, 4, 60))), seed)
        assert (labels[0] == POLE).any()


def test_kinds_are_drawn_alike_however_many_there_are() -> None:
    poles = [(POLE, (x, 30, 3, 40)) for x in range(20, 150, 8)]
    donor = scene(*poles, (PERSON, (10, 45, 5, 25)))
    with_person = sum(bool((pasted(scene(), donor, seed)[1] == PERSON).any()) for seed in range(60))
    assert with_person > 30  # of one to three draws, half or more; by number it would be one in ten


def test_pictures_of_another_height_and_donors_without_objects_change_nothing() -> None:
    target = scene()
    tall = (np.zeros((150, 160, 3), np.uint8), np.zeros((150, 160), np.uint8))
    tall[1][50:80, 70:78] = PERSON
    for donor in (tall, scene()):
        image, labels = pasted(target, donor, 0)
        assert (image == target[0]).all()
        assert (labels == target[1]).all()


def sampler_in(folder: Path, probability: float) -> Sampler:
    """Two pictures; the person is in one of them."""
    pairs = []
    for name, objects in (("empty", []), ("person", [(24, (70, 45, 8, 25))])):
        image, labels = scene(*objects)
        label_ids = np.where(labels == SKY, 23, np.where(labels == ROAD, 7, labels)).astype(np.uint8)
        write_png(folder / f"{name}.png", image)
        write_png(folder / f"{name}_labels.png", label_ids)
        pairs.append(Pair(folder / f"{name}.png", folder / f"{name}_labels.png", "kitti"))
    rule = Augmentation(paste=probability, scale=(1, 1), rotate_degrees=0, aspect=0)
    return Sampler(Mixture((tuple(pairs),), (1.0,), (rule,)), (WIDTH, 96), 24, seed=1)


def test_a_batch_with_pasted_objects_depends_on_its_position_alone(tmp_path: Path) -> None:
    first, second = sampler_in(tmp_path, 1.0), sampler_in(tmp_path, 1.0)
    first.draw(3, 3)  # fills what is kept in memory
    expected = first.draw(0, 0)
    for one, other in zip(expected, second.draw(0, 0)):
        assert (one == other).all()
    counts = [np.mean([PERSON in labels for labels in sampler_in(tmp_path, p).draw(0, 0)[1]]) for p in (0.0, 1.0)]
    assert counts[0] < counts[1]


def test_a_sample_file_is_never_changed_in_memory(tmp_path: Path) -> None:
    sampler = sampler_in(tmp_path, 1.0)
    sampler.draw(0, 0)
    before = {pair: (image.copy(), labels.copy()) for pair, (image, labels) in sampler._cache.items()}
    sampler.draw(0, 1)
    for pair, (image, labels) in before.items():
        assert (sampler._cache[pair][0] == image).all()
        assert (sampler._cache[pair][1] == labels).all()
