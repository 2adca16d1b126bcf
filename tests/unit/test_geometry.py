"""Sizes that frames are brought to, and the way back to their pixels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perception.geometry import apply_affine, fit_size, resize_affine
from perception.stages.prepare import prepare

sides = st.integers(1, 8192)
sizes = st.tuples(sides, sides)


@settings(deadline=None)
@given(source=sizes, multiple=st.sampled_from([8, 16, 32, 64]), cells=st.integers(16, 2000))
def test_a_fitted_size_keeps_the_multiple_and_the_budget(source: tuple[int, int], multiple: int, cells: int) -> None:
    pixels = cells * multiple * multiple
    width, height = fit_size(source, pixels, multiple)
    assert width > 0
    assert height > 0
    assert width % multiple == 0
    assert height % multiple == 0
    assert 0.5 * pixels <= width * height <= 1.5 * pixels


@pytest.mark.parametrize(
    ("source", "pixels", "size"),
    [
        ((1280, 720), 512 * 288, (512, 288)),
        ((1920, 1080), 512 * 288, (512, 288)),
        ((1024, 512), 1024 * 512, (1024, 512)),
        ((720, 1280), 512 * 288, (288, 512)),
        ((50, 50), 32 * 32, (32, 32)),
        ((10_000, 10), 512 * 288, (4608, 32)),
        ((10, 10_000), 512 * 288, (32, 5280)),
    ],
)
def test_known_sizes(source: tuple[int, int], pixels: int, size: tuple[int, int]) -> None:
    assert fit_size(source, pixels) == size


@settings(deadline=None)
@given(size=sizes, source=sizes)
def test_corners_map_to_corners(size: tuple[int, int], source: tuple[int, int]) -> None:
    affine = resize_affine(size, source)
    assert apply_affine(affine, -0.5, -0.5) == pytest.approx((-0.5, -0.5))
    assert apply_affine(affine, size[0] - 0.5, size[1] - 0.5) == pytest.approx((source[0] - 0.5, source[1] - 0.5))


@settings(deadline=None)
@given(size=sizes, source=sizes, x=st.floats(-10, 9000), y=st.floats(-10, 9000))
def test_there_and_back_again(size: tuple[int, int], source: tuple[int, int], x: float, y: float) -> None:
    there = apply_affine(resize_affine(size, source), x, y)
    assert apply_affine(resize_affine(source, size), *there) == pytest.approx((x, y), abs=1e-6)


# --- prepare: the resize itself ------------------------------------------------------------------------------


def test_a_frame_of_the_right_size_is_not_copied() -> None:
    image = np.zeros((32, 64, 3), np.uint8)
    assert prepare(image, (64, 32)) is image


def test_shrinking_averages_areas() -> None:
    image = np.random.default_rng(0).integers(0, 256, (64, 128, 3), dtype=np.uint8)
    means = image.reshape(16, 4, 32, 4, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(prepare(image, (32, 16)), means, atol=0.51)


def test_growing_interpolates_between_pixel_centres() -> None:
    image = np.zeros((1, 2, 3), np.uint8)
    image[0, 1] = 200
    np.testing.assert_array_equal(prepare(image, (4, 1))[0, :, 0], [0, 50, 150, 200])


@pytest.mark.parametrize("size", [(64, 32), (96, 16), (32, 96), (1, 1), (7, 13)])
def test_any_size_comes_out_as_asked(size: tuple[int, int]) -> None:
    resized = prepare(np.full((40, 60, 3), 77, np.uint8), size)
    assert resized.shape == (size[1], size[0], 3)
    assert resized.dtype == np.uint8
    assert (resized == 77).all()


def test_a_resized_dot_lies_where_the_affine_says() -> None:
    image = np.zeros((72, 128, 3), np.uint8)
    image[40:44, 80:84] = 255
    small = prepare(image, (32, 18))[:, :, 0].astype(float)
    y, x = (np.average(axis, weights=small) for axis in np.indices(small.shape))
    assert apply_affine(resize_affine((32, 18), (128, 72)), float(x), float(y)) == pytest.approx((81.5, 41.5))
