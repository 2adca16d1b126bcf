"""How near one picture is to another, and how much of a checkerboard lies in it."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from perception.errors import ShapeError
from perception.types import Image

_WINDOW, _SIGMA = 11, 1.5
_K1, _K2 = 0.01, 0.03
Array = npt.NDArray[np.float64]


def psnr(picture: Image, truth: Image) -> float:
    """Peak signal-to-noise ratio in dB of two u8 pictures of one shape; infinite where they are equal.

    Raises:
        ShapeError: the shapes differ.
    """
    _check(picture, truth)
    error = float(np.mean((picture.astype(np.float64) - truth) ** 2))
    return float("inf") if error == 0 else 10 * float(np.log10(255**2 / error))


def ssim(picture: Image, truth: Image) -> float:
    """Structural similarity of two u8 pictures (H, W, C), at least 11 pixels a side; 1 where they are equal.

    Wang et al. 2004, "Image Quality Assessment", section III-B: a Gaussian window of 11x11 and sigma 1.5, K1 0.01, K2
    0.03, biased variances; the mean over all places where the window lies inside, and over the channels.

    Raises:
        ShapeError: the shapes differ, or the window does not fit.
    """
    _check(picture, truth)
    if min(picture.shape[:2]) < _WINDOW:
        raise ShapeError(f"SSIM needs pictures of at least {_WINDOW} pixels a side, got {picture.shape}.")
    x, y = picture.astype(np.float64), truth.astype(np.float64)
    mean_x, mean_y = _windowed(x), _windowed(y)
    variance_x, variance_y = _windowed(x * x) - mean_x**2, _windowed(y * y) - mean_y**2
    covariance = _windowed(x * y) - mean_x * mean_y
    c1, c2 = (_K1 * 255) ** 2, (_K2 * 255) ** 2
    alike = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    similarity = alike / ((mean_x**2 + mean_y**2 + c1) * (variance_x + variance_y + c2))
    edge = _WINDOW // 2
    return float(similarity[edge:-edge, edge:-edge].mean())


def checkerboard(picture: Image, stride: int = 2) -> float:
    """How far the spectrum stands out at the frequencies that repeat every ``stride`` pixels, in dB.

    The power of the grey picture (H, W) at every multiple of 1 / stride along either axis but the constant, against
    the mean of the power around each; 0 dB is what a picture without a grid has in expectation. The picture is cut to
    multiples of ``stride`` and weighted by a Hann window, so that its own edges do not count.
    """
    grey = picture.astype(np.float64).mean(axis=2)
    height, width = (side // stride * stride for side in grey.shape)
    grey = grey[:height, :width] - grey[:height, :width].mean()
    power = np.abs(np.fft.fft2(grey * np.outer(np.hanning(height), np.hanning(width)))) ** 2
    peaks, around = 0.0, 0.0
    for i in range(stride):
        for j in range(stride):
            if (i, j) != (0, 0):
                row, column = i * height // stride, j * width // stride
                near = np.ix_(np.arange(row - 8, row + 9) % height, np.arange(column - 8, column + 9) % width)
                patch = power[near]
                inner = patch[7:10, 7:10].sum()  # the window spreads a line over its neighbours
                peaks += inner / 9
                around += (patch.sum() - inner) / (17 * 17 - 9)
    return 10 * float(np.log10(max(peaks, 1e-12) / max(around, 1e-12)))


def _windowed(values: Array) -> Array:
    return np.asarray(cv2.GaussianBlur(values, (_WINDOW, _WINDOW), _SIGMA), np.float64)


def _check(picture: Image, truth: Image) -> None:
    if picture.shape != truth.shape:
        raise ShapeError(f"Two pictures of one shape can be compared, got {picture.shape} and {truth.shape}.")
