"""Augmentation and sampling: the same seed gives the same sample, and labels stay where their image is."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from tiny_data import write_camvid, write_cityscapes, write_kitti

from perception.errors import ConfigError
from perception.types import VOID
from training.data import samples
from training.data.augment import BORDER_BGR, LABEL_STRIDE, RARE_VALUES, Augmentation, augment
from training.data.mixture import open_mixture
from training.data.samples import Mixture, Sampler

STILL = Augmentation(
    scale=(1, 1),
    aspect=0,
    rotate_degrees=0,
    flip=0,
    rare=0,
    paste=0,
    color=0,
    rain=0,
    fog=0,
    dusk=0,
    night=0,
    dark=0,
    motion=0,
    blur=0,
    noise=0,
    jpeg=0,
)
MOVING = dataclasses.replace(STILL, scale=(0.5, 2.0), aspect=0.1, rotate_degrees=5.0, flip=0.5)
FULL = Augmentation(
    rare=0.5, color=1, rain=0.2, fog=0.2, dusk=0.2, night=0.2, dark=0.5, motion=0.5, blur=0.5, noise=0.5, jpeg=0.5
)


def ramp(axis: int) -> tuple[np.ndarray, np.ndarray]:
    """An image whose grey value is the row (axis 0) or the column of each pixel, and labels of the same values."""
    rows, columns = np.mgrid[0:200, 0:240]
    values = (rows, columns)[axis].astype(np.uint8)
    return np.repeat(values[..., None], 3, axis=2), values


def inner(mask: np.ndarray) -> np.ndarray:
    """The mask without what lies near its border."""
    padded = np.pad(mask, 1).astype(np.uint8)
    return cv2.erode(padded, np.ones((9, 9), np.uint8))[1:-1, 1:-1].astype(bool)


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("seed", range(12))
def test_labels_lie_where_their_image_is_whatever_the_warp(axis: int, seed: int) -> None:
    image, labels = ramp(axis)
    image, labels = augment(image, labels, (128, 96), MOVING, np.random.default_rng(seed))
    assert image.shape == (96, 128, 3)
    assert labels.shape == (96 // LABEL_STRIDE, 128 // LABEL_STRIDE)
    under_label = image[..., 0].reshape(48, 2, 64, 2).mean(axis=(1, 3))
    difference = (under_label - labels)[inner(labels != VOID)]
    assert difference.size > 500
    assert np.abs(difference).max() <= 1.25  # half a pixel of nearest sampling, and the rounding of grey values
    assert abs(difference.mean()) < 0.2  # no systematic shift


def test_without_any_change_a_crop_of_full_size_is_the_image() -> None:
    image, labels = ramp(1)
    crop, crop_labels = augment(image, labels, (240, 200), STILL, np.random.default_rng(3))
    assert (crop == image).all()
    assert np.abs(crop_labels - labels[::2, ::2].astype(int)).max() <= 1


def test_mirroring_mirrors_both() -> None:
    image, labels = ramp(1)
    rule = dataclasses.replace(STILL, flip=1.0)
    crop, crop_labels = augment(image, labels, (240, 200), rule, np.random.default_rng(0))
    assert (crop == image[:, ::-1]).all()
    assert (np.diff(crop_labels.astype(int), axis=1) < 0).all()


def test_outside_the_image_is_void_over_grey() -> None:
    image = np.full((40, 40, 3), 255, np.uint8)
    crop, labels = augment(image, np.zeros((40, 40), np.uint8), (128, 128), STILL, np.random.default_rng(0))
    assert (labels == VOID).mean() == pytest.approx(1 - 40 * 40 / 128**2, abs=0.02)
    assert (crop[0, 0] == BORDER_BGR).all()
    assert (crop[:, :, 0].reshape(64, 2, 64, 2).max(axis=(1, 3))[labels == 0] == 255).all()


def test_a_crop_never_wastes_itself_on_the_outside_of_a_larger_image() -> None:
    rule = dataclasses.replace(MOVING, rotate_degrees=0.0, scale=(1.0, 2.0))
    for seed in range(30):
        _, labels = augment(*ramp(0), (128, 96), rule, np.random.default_rng(seed))
        assert (labels != VOID).all()


@pytest.mark.parametrize("value", RARE_VALUES[[0, 5, -1]])
def test_rare_crops_show_the_rare_class(value: int) -> None:
    rule = dataclasses.replace(MOVING, rare=1.0)
    for seed in range(40):
        random = np.random.default_rng(seed)
        labels = np.zeros((400, 600), np.uint8)
        y, x = random.integers(0, 388), random.integers(0, 588)
        labels[y : y + 12, x : x + 12] = value
        _, found = augment(np.zeros((400, 600, 3), np.uint8), labels, (96, 64), rule, random)
        assert (found == value).any()


def test_an_image_without_rare_classes_is_cropped_anywhere() -> None:
    _, labels = augment(
        np.zeros((200, 200, 3), np.uint8),
        np.zeros((200, 200), np.uint8),
        (64, 64),
        dataclasses.replace(STILL, rare=1.0),
        np.random.default_rng(0),
    )
    assert (labels == 0).all()


@pytest.mark.parametrize("seed", range(6))
def test_a_sample_depends_on_its_generator_alone(seed: int) -> None:
    image, labels = ramp(1)
    before = image.copy()
    first, second = (augment(image, labels, (96, 64), FULL, np.random.default_rng(seed)) for _ in range(2))
    assert all((a == b).all() for a, b in zip(first, second))
    assert (image == before).all()
    other = augment(image, labels, (96, 64), FULL, np.random.default_rng(seed + 100))
    assert (first[0] != other[0]).any()


CHANGES_OF_LIGHT = ("color", "rain", "fog", "dusk", "night", "dark", "motion", "blur", "noise", "jpeg")


@pytest.mark.parametrize("change", CHANGES_OF_LIGHT)
def test_changes_of_light_leave_labels_alone(change: str) -> None:
    image, labels = ramp(1)
    rule = dataclasses.replace(STILL, **{change: 1})
    changed, same = augment(image, labels, (240, 200), rule, np.random.default_rng(0))
    _, plain = augment(image, labels, (240, 200), STILL, np.random.default_rng(0))
    assert (same == plain).all()
    assert changed.shape == image.shape
    assert (changed != image).any()


def test_of_the_four_weathers_at_most_one_is_applied() -> None:
    with pytest.raises(ConfigError, match="more than 1"):
        Augmentation(rain=0.5, fog=0.3, dusk=0.2, night=0.1)


def mixture_in(folder: Path) -> Mixture:
    return open_mixture([f"camvid:{write_camvid(folder / 'camvid')}=3", f"kitti:{write_kitti(folder / 'kitti')}"])


@pytest.mark.parametrize(("width", "scale"), [(320, (1.2, 3.2)), (640, (0.6, 1.6)), (1280, (0.3, 1.0))])
def test_streets_are_seen_at_the_same_widths_whatever_they_were_rendered_at(
    width: int, scale: tuple[float, float], tmp_path: Path
) -> None:
    folder = write_cityscapes(tmp_path, size=(width, width * 9 // 16))
    assert open_mixture([f"synth:{folder}"]).rules[0].scale == pytest.approx(scale)


def test_a_batch_depends_on_seed_epoch_and_index_alone(tmp_path: Path) -> None:
    mixture = mixture_in(tmp_path)
    first, second = Sampler(mixture, (64, 64), 4, seed=5), Sampler(mixture, (64, 64), 4, seed=5)
    for position in ((0, 0), (0, 1), (3, 1)):  # the second has drawn other batches before, and filled its cache
        first.draw(0, 7)
        assert all((a == b).all() for a, b in zip(first.draw(*position), second.draw(*position)))
    images, labels = first.draw(0, 0)
    assert images.shape == (4, 64, 64, 3)
    assert labels.shape == (4, 32, 32)
    for other in (first.draw(0, 1), first.draw(1, 0), Sampler(mixture, (64, 64), 4, seed=6).draw(0, 0)):
        assert (other[0] != images).any()


def test_parts_are_drawn_as_often_as_their_weights_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[str] = []
    original = samples.read_pair
    monkeypatch.setattr(samples, "read_pair", lambda pair: drawn.append(pair.kind) or original(pair))
    monkeypatch.setattr(samples, "CACHE_BYTES", 0)
    Sampler(mixture_in(tmp_path), (64, 64), 400, seed=1).draw(0, 0)
    assert drawn.count("camvid") / len(drawn) == pytest.approx(0.75, abs=0.06)


def test_decoded_files_are_kept_up_to_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    original = samples.read_pair
    monkeypatch.setattr(samples, "read_pair", lambda pair: read.append(pair.image.name) or original(pair))
    mixture = mixture_in(tmp_path)
    Sampler(mixture, (64, 64), 100, seed=1).draw(0, 0)
    assert len(read) == 9  # every file once
    monkeypatch.setattr(samples, "CACHE_BYTES", 5 * 96 * 64 * 4)
    limited = Sampler(mixture, (64, 64), 100, seed=1)
    limited.draw(0, 0)
    assert len(limited._cache) == 5


def test_a_mixture_checks_its_parts(tmp_path: Path) -> None:
    mixture = mixture_in(tmp_path)
    with pytest.raises(ConfigError, match="a weight and a rule"):
        Mixture(mixture.parts, (1.0,), mixture.rules)
    with pytest.raises(ConfigError, match="positive"):
        Mixture(mixture.parts, (1.0, 0.0), mixture.rules)


def test_what_a_worker_imports_is_light() -> None:
    script = "import training.data.samples, sys; print(*{name.partition('.')[0] for name in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout.split()
    assert not set(loaded) & {"keras", "tensorflow", "onnx", "onnxruntime"}
