"""Weather and camera: each moves a picture the way that it should."""

from __future__ import annotations

import numpy as np
import pytest

from training.data import photometric, weather

HEIGHT, WIDTH = 96, 128
BELOW = np.clip((np.arange(HEIGHT) / HEIGHT - 0.45) / 0.55, 0, 1)
SEEDS = range(8)


def street(brightness: int = 120) -> np.ndarray:
    """A chequered picture: contrast everywhere, no noise."""
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH]
    grey = np.where((rows // 8 + columns // 8) % 2, brightness - 50, brightness + 50)
    return np.repeat(grey[..., None], 3, axis=2).astype(np.uint8)


def contrast(image: np.ndarray) -> float:
    return float(image.astype(float).std())


@pytest.mark.parametrize("seed", SEEDS)
def test_fog_hides_what_is_far_more_than_what_is_near(seed: int) -> None:
    image = weather.fog(street(), BELOW, np.random.default_rng(seed))
    by_rows = [contrast(image[top : top + 16]) for top in (32, 48, 64, 80)]  # from the horizon to the car
    assert by_rows == sorted(by_rows)
    assert by_rows[0] < 0.8 * by_rows[-1] < contrast(street())
    assert image[0, 0].mean() != pytest.approx(image[0, 8].mean())  # nothing is hidden entirely: labels stay true


@pytest.mark.parametrize("seed", SEEDS)
def test_rain_takes_contrast_and_adds_bright_streaks(seed: int) -> None:
    image = weather.rain(street(), np.random.default_rng(seed))[..., 1].astype(int)
    dark, bright = np.percentile(image, [10, 50 + 35])
    assert bright - dark < 100  # the two greys were a hundred apart
    streaks = (image != dark) & (image != bright)  # thin, so that they cover little
    assert 0.001 < streaks.mean() < 0.3
    assert (image[streaks] > dark).all()


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("brightness", [70, 180])
def test_dusk_and_night_are_dark_however_bright_the_day_was(seed: int, brightness: int) -> None:
    random = np.random.default_rng(seed)
    late = weather.dusk(street(brightness), random).mean()
    dark = weather.night(street(brightness), BELOW, random)
    assert 15 < late < 85
    assert dark[: HEIGHT // 3].mean() < 60


def test_at_night_the_light_lies_on_the_road() -> None:
    ahead, above = [], []
    for seed in SEEDS:
        image = weather.night(street(), BELOW, np.random.default_rng(seed)).astype(float)
        ahead.append(image[60:90, 48:80].mean())
        above.append(image[:30, 48:80].mean())
    assert np.mean(ahead) > 1.5 * np.mean(above)


@pytest.mark.parametrize("sigma", [2.0, 10.0])
def test_noise_is_normal_and_as_strong_as_asked_for(sigma: float) -> None:
    flat = np.full((HEIGHT, WIDTH, 3), 128, np.uint8)
    noise = photometric.add_noise(flat, sigma, np.random.default_rng(0)).astype(float) - 128
    assert noise.std() == pytest.approx(sigma, rel=0.05)
    assert abs(noise.mean()) < 0.1 * sigma
    assert (np.abs(noise) > 2.25 * sigma).mean() == pytest.approx(0.0244, abs=0.01)


def test_noise_ends_at_black_and_white() -> None:
    for value in (0, 255):
        found = photometric.add_noise(np.full((64, 64, 3), value, np.uint8), 8.0, np.random.default_rng(0))
        assert np.abs(found.astype(int) - value).max() < 30  # no value went round


@pytest.mark.parametrize("seed", SEEDS)
def test_motion_blur_keeps_brightness_and_blurs_along_the_motion(seed: int) -> None:
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH]
    upright = np.repeat(((columns // 4 % 2) * 200)[..., None], 3, axis=2).astype(np.uint8)
    found = photometric.motion_blur(upright, np.random.default_rng(seed))
    assert found.mean() == pytest.approx(upright.mean(), abs=2)
    assert contrast(found) < contrast(upright)
    flat = np.repeat(((rows // 4 % 2) * 200)[..., None], 3, axis=2).astype(np.uint8)
    lost_across = contrast(flat) - contrast(photometric.motion_blur(flat, np.random.default_rng(seed)))
    assert contrast(upright) - contrast(found) >= lost_across


@pytest.mark.parametrize("size", [(1, 1), (7, 5), (33, 64)])
def test_pictures_of_any_size_survive(size: tuple[int, int]) -> None:
    random = np.random.default_rng(0)
    image = random.integers(0, 256, (*size, 3), np.uint8)
    below = np.linspace(0, 1, size[0])
    for changed in (
        weather.rain(image, random),
        weather.fog(image, below, random),
        weather.dusk(image, random),
        weather.night(image, below, random),
        photometric.motion_blur(image, random),
        photometric.recolor(image, random),
    ):
        assert changed.shape == image.shape
        assert changed.dtype == np.uint8
