"""Batches for a head that tells objects apart, with labels beside them where the trunk learns too."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from tiny_data import write_camvid, write_kitti, write_png

from perception.types import VOID
from training.data.augment import Augmentation
from training.data.boundaries import BoundaryTargets
from training.data.centres import ACROSS, HEAT, HEAT_WEIGHT, WAY_WEIGHT, CentreTargets
from training.data.datasets import open_dataset
from training.data.instance_samples import InstanceSampler
from training.data.instances import instance_path
from training.data.samples import Mixture
from training.data.taxonomy import values_within

STILL = Augmentation(
    scale=(1, 1), aspect=0, rotate_degrees=0, flip=0, rare=0, paste=0, color=0, rain=0, fog=0, dusk=0, night=0
)


@pytest.fixture
def mixture(tmp_path: Path) -> Mixture:
    """Two frames with a box of an object of its own each."""
    pairs = open_dataset(f"kitti:{write_kitti(tmp_path, count=2, size=(128, 64))}")
    for number, pair in enumerate(pairs):
        raw = np.full((64, 128), 7 * 256, np.uint16)
        raw[20:44, 40 + 20 * number : 80] = 26 * 256 + 1
        write_png(instance_path(pair), raw)
        write_png(pair.labels, (raw // 256).astype(np.uint8))
    return Mixture((tuple(pairs),), (1.0,), (STILL,))


def test_a_sampler_moves_the_objects_with_the_picture(mixture: Mixture) -> None:
    images, targets = InstanceSampler(mixture, (128, 64), 4, seed=1, targets=CentreTargets()).draw(0, 0)
    assert images.shape == (4, 64, 128, 3)
    assert targets.shape == (4, 16, 32, 5)
    found = {tuple(np.argwhere(one[..., HEAT] == 1)[0].tolist()) for one in targets}
    # Columns 40..79 and 60..79, rows 20..43 of the frame: middles at 59.5, 69.5 and 31.5, in cells of 4 pixels.
    assert found <= {(8, 14), (8, 17), (7, 14), (7, 17), (8, 15)}
    assert len({column for _, column in found}) == 2


def test_a_mirrored_picture_has_mirrored_targets(mixture: Mixture) -> None:
    mirrored = Mixture(mixture.parts, mixture.weights, (replace(mixture.rules[0], flip=1.0),))
    plain, turned = (
        InstanceSampler(one, (128, 64), 4, seed=1, targets=CentreTargets()).draw(0, 0)[1] for one in (mixture, mirrored)
    )
    way = plain[..., WAY_WEIGHT] > 0
    assert way.any()
    assert (turned[:, :, ::-1][..., WAY_WEIGHT] > 0)[way].mean() > 0.9  # half a pixel may fall on either side
    shared = way & (turned[:, :, ::-1][..., WAY_WEIGHT] > 0)
    assert np.allclose(turned[:, :, ::-1][..., ACROSS][shared], -plain[..., ACROSS][shared], atol=0.51)


def test_a_batch_is_the_same_whoever_draws_it(mixture: Mixture) -> None:
    rules = (Augmentation(),)
    one, two = (
        InstanceSampler(Mixture(mixture.parts, (1.0,), rules), (64, 64), 3, seed=5, targets=BoundaryTargets())
        for _ in range(2)
    )
    two.draw(0, 0)  # what was read before makes no difference
    for first, second in zip(one.draw(3, 2), two.draw(3, 2)):
        assert (first == second).all()
    assert not (one.draw(3, 3)[0] == one.draw(3, 2)[0]).all()


def test_labels_are_cut_out_by_the_view_of_the_targets(mixture: Mixture) -> None:
    moved = Mixture(mixture.parts, mixture.weights, (replace(STILL, scale=(1.5, 1.5), flip=0.5),))
    alone: Any = InstanceSampler(moved, (64, 64), 6, seed=4, targets=CentreTargets()).draw(1, 2)
    both: Any = InstanceSampler(moved, (64, 64), 6, seed=4, targets=CentreTargets(), labels=True).draw(1, 2)
    images, (labels, targets) = both
    assert (images == alone[0]).all()
    assert (targets == alone[1]).all()
    assert labels.shape == (6, 32, 32)
    assert labels.dtype == np.uint8
    cars = labels.reshape(6, 16, 2, 16, 2).transpose(0, 1, 3, 2, 4).reshape(6, 16, 16, 4) == 13
    assert cars.any()
    assert ((targets[..., WAY_WEIGHT] > 0) == cars.any(axis=-1)).all()


def test_data_without_objects_teaches_where_there_is_none(tmp_path: Path) -> None:
    pairs = open_dataset(f"camvid:{write_camvid(tmp_path)}")
    mixture = Mixture((tuple(pairs),), (1.0,), (replace(STILL, paste=1.0),))
    height, width = cv2.imread(str(pairs[0].image)).shape[:2]
    size = width // 32 * 32, height // 32 * 32
    drawn: Any = InstanceSampler(mixture, size, 3, seed=2, targets=CentreTargets(), labels=True).draw(0, 0)
    _, (labels, targets) = drawn
    may_be = np.isin(labels, [VOID, *values_within(range(11, 19))])
    cells = may_be.reshape(3, targets.shape[1], 2, targets.shape[2], 2).any(axis=(2, 4))
    assert not targets[..., [HEAT, WAY_WEIGHT]].any()
    assert ((targets[..., HEAT_WEIGHT] == 0) == cells).all()
    assert 0 < cells.mean() < 1
