"""The enhancements of the package on real frames that they were not trained on: each does what it is there for."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
import pytest

from perception.engines.enhancement import read_enhancement
from training.data.datasets import open_dataset, read_image
from training.data.degrade import KINDS, degradation
from training.metrics.picture import psnr

pytestmark = [
    pytest.mark.data,
    pytest.mark.skipif("ROADCAST_DATA" not in os.environ, reason="ROADCAST_DATA does not name real driving data"),
]


@pytest.fixture(scope="module")
def frames() -> list[np.ndarray]:
    """Four frames of each held-out part, cut to sides that every network takes."""
    root = Path(os.environ["ROADCAST_DATA"])
    names = (f"camvid:{root / 'camvid'}:proxy", f"kitti:{root / 'kitti'}:proxy")
    images = [read_image(pair) for name in names for pair in open_dataset(name)[::8][:4]]
    return [image[: image.shape[0] // 32 * 32, : image.shape[1] // 32 * 32] for image in images]


def made_by(name: str, image: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(str(read_enhancement(name).path))
    return np.asarray(session.run(["image"], {"frame": np.ascontiguousarray(image)[None]})[0][0])


def test_noise_goes_by_eight_decibels(frames: list[np.ndarray]) -> None:
    gains = []
    for number, truth in enumerate(frames):
        noisy = KINDS["gaussian"].spoil(truth, 25.0, np.random.default_rng(number))
        gains.append(psnr(made_by("denoise", noisy), truth) - psnr(noisy, truth))
    assert np.mean(gains) >= 8


@pytest.mark.parametrize(("kind", "least"), [("lowlight", 1.0), ("dark", 6.0)])
def test_a_frame_of_little_light_comes_nearer_to_the_one_by_day(
    kind: str, least: float, frames: list[np.ndarray]
) -> None:
    gains = []
    for number, truth in enumerate(frames):
        spoilt = degradation(kind).spoil(truth, degradation(kind).strength, np.random.default_rng(number))
        gains.append(psnr(made_by("lowlight", spoilt), truth) - psnr(spoilt, truth))
    assert np.mean(gains) > least


def test_twice_the_size_is_better_than_bicubic(frames: list[np.ndarray]) -> None:
    gains = []
    for truth in frames:
        half = truth.shape[1] // 2, truth.shape[0] // 2
        small = np.asarray(cv2.resize(truth, half, interpolation=cv2.INTER_AREA), np.uint8)
        large = np.asarray(cv2.resize(small, truth.shape[1::-1], interpolation=cv2.INTER_CUBIC), np.uint8)
        gains.append(psnr(made_by("superres", small), truth) - psnr(large, truth))
    assert np.mean(gains) >= 0.5
