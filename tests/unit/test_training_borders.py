"""U-Net's border term against its formula, with distances measured pixel by pixel."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tiny_data import write_kitti

from perception.errors import ConfigError
from perception.types import VOID
from training.data.borders import STEPS, BorderTerm
from training.data.mixture import open_mixture
from training.data.samples import Sampler

ROAD, PERSON, CAR, POLE = 0, 11, 13, 5
SHAPE = (40, 60)


def with_objects(*objects: tuple[int, int, int, int, int]) -> np.ndarray:
    labels = np.full(SHAPE, ROAD, np.uint8)
    for value, x, y, w, h in objects:
        labels[y : y + h, x : x + w] = value
    return labels


def distance_to(mask: np.ndarray) -> np.ndarray:
    """(H, W) to the nearest pixel of the mask, by trying them all."""
    rows, columns = np.mgrid[0 : SHAPE[0], 0 : SHAPE[1]]
    targets = np.argwhere(mask)
    return np.sqrt(((np.dstack([rows, columns])[:, :, None] - targets) ** 2).sum(axis=-1)).min(axis=-1)


@pytest.mark.parametrize(("strength", "sigma"), [(10.0, 5.0), (3.0, 2.0)])
def test_it_is_the_formula(strength: float, sigma: float) -> None:
    boxes = [(CAR, 5, 10, 10, 12), (CAR, 18, 8, 8, 20), (PERSON, 30, 12, 4, 14)]
    labels = with_objects(*boxes)
    distances = np.sort([distance_to(with_objects(box) == box[0]) for box in boxes], axis=0)
    expected = strength * np.exp(-((distances[0] + distances[1]) ** 2) / (2 * sigma**2))
    expected[labels != ROAD] = 0
    found = BorderTerm(strength, sigma).weights(labels)
    assert found == pytest.approx(expected, abs=1e-3 * strength)
    assert found.max() > 0.1 * strength


@pytest.mark.parametrize("labels", [with_objects(), with_objects((CAR, 5, 5, 9, 9)), with_objects((POLE, 5, 5, 2, 30))])
def test_without_two_objects_there_is_no_border(labels: np.ndarray) -> None:
    assert (BorderTerm().weights(labels) == 0).all()


def test_touching_objects_of_two_classes_are_two_and_void_is_none() -> None:
    touching = with_objects((CAR, 5, 5, 10, 10), (PERSON, 15, 5, 10, 10))
    assert BorderTerm().weights(touching).max() > 5
    void = with_objects((CAR, 5, 5, 10, 10), (VOID, 15, 5, 10, 10))
    assert (BorderTerm().weights(void) == 0).all()


def test_weights_travel_with_the_labels_in_sixteenths() -> None:
    labels = with_objects((CAR, 5, 5, 10, 10), (CAR, 18, 5, 10, 10))
    both = BorderTerm().beside(labels)
    assert (both[..., 0] == labels).all()
    assert both[..., 1] / STEPS == pytest.approx(BorderTerm().weights(labels), abs=0.5 / STEPS + 1e-6)


@pytest.mark.parametrize(("strength", "sigma"), [(0, 5), (-1, 5), (16, 5), (float("nan"), 5), (10, 0), (10, 1e9)])
def test_terms_that_make_no_weights_are_refused(strength: float, sigma: float) -> None:
    with pytest.raises(ConfigError, match="border term"):
        BorderTerm(strength, sigma)


def test_batches_carry_them_when_asked_to(tmp_path: Path) -> None:
    mixture = open_mixture([f"kitti:{write_kitti(tmp_path)}"])
    plain, weighted = (Sampler(mixture, (64, 64), 2, seed=1, border=b).draw(0, 0) for b in (None, BorderTerm()))
    assert (weighted[0] == plain[0]).all()
    assert weighted[1].shape == (2, 32, 32, 2)
    assert (weighted[1][..., 0] == plain[1]).all()
