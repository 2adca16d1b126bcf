"""PSNR, SSIM and the measure of checkerboards: against scikit-image, and on pictures whose figure is known."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from perception.errors import ShapeError
from training.metrics.picture import checkerboard, psnr, ssim


def scene(height: int, width: int) -> np.ndarray:
    """Something with edges, gradients and texture."""
    random = np.random.default_rng(3)
    rows, columns = np.indices((height, width))
    image = np.stack([rows * 255 / height, columns * 255 / width, (rows // 7 + columns // 9) % 2 * 200], axis=2)
    return np.clip(cv2.GaussianBlur(image, (5, 5), 1.2) + random.normal(0, 5, image.shape), 0, 255).astype(np.uint8)


@pytest.mark.parametrize(("height", "width"), [(60, 80), (37, 53), (11, 11)])
@pytest.mark.parametrize("sigma", [3, 25])
def test_psnr_and_ssim_are_those_of_scikit_image(height, width, sigma):
    reference = pytest.importorskip("skimage.metrics", reason="scikit-image is not installed")
    truth = scene(height, width)
    noisy = np.clip(truth + np.random.default_rng(1).normal(0, sigma, truth.shape), 0, 255).astype(np.uint8)
    assert psnr(noisy, truth) == pytest.approx(reference.peak_signal_noise_ratio(truth, noisy, data_range=255))
    expected = reference.structural_similarity(
        truth, noisy, data_range=255, channel_axis=2, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
    )
    assert ssim(noisy, truth) == pytest.approx(expected, abs=1e-9)


def test_equal_pictures():
    truth = scene(30, 30)
    assert psnr(truth, truth) == float("inf")
    assert ssim(truth, truth) == pytest.approx(1)


def test_a_known_error():
    truth = np.full((20, 20, 3), 100, np.uint8)
    assert psnr(truth + np.uint8(10), truth) == pytest.approx(10 * np.log10(255**2 / 100))


def test_shapes_that_cannot_be_compared():
    with pytest.raises(ShapeError, match="one shape"):
        psnr(scene(20, 20), scene(20, 21))
    with pytest.raises(ShapeError, match="at least 11"):
        ssim(scene(10, 20), scene(10, 20))


@pytest.mark.parametrize("stride", [2, 4])
def test_a_checkerboard_stands_out_of_the_spectrum(stride):
    clean = scene(96, 128)
    rows, columns = np.indices(clean.shape[:2])
    grid = ((rows % stride == 0) & (columns % stride == 0))[..., None]
    assert checkerboard(clean, stride) < 6
    faint = np.where(grid, np.clip(clean.astype(int) + 6, 0, 255), clean).astype(np.uint8)
    strong = np.where(grid, np.clip(clean.astype(int) + 25, 0, 255), clean).astype(np.uint8)
    assert checkerboard(clean, stride) + 6 < checkerboard(faint, stride) < checkerboard(strong, stride) - 6
