"""What spoils pictures: the statistics that each model promises, and that chance is all in its generator."""

from __future__ import annotations

import numpy as np
import pytest

from perception.errors import ConfigError
from training.data.degrade import (
    FULL_WELL,
    GAMMA,
    KINDS,
    MAX_GAIN,
    READ_NOISE,
    dark,
    degradation,
    gaussian,
    lowlight,
    shot,
    spoil_at_random,
)

FLAT = np.full((200, 200, 3), 128, np.uint8)


def texture(height: int = 48, width: int = 64) -> np.ndarray:
    return np.random.default_rng(5).integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize("name", KINDS)
def test_a_spoilt_picture_is_u8_of_the_same_size_another_one_and_the_same_again(name):
    kind, image = KINDS[name], texture()
    before = image.copy()
    once, again, other = (kind.spoil(image, kind.strength, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert once.dtype == np.uint8
    assert once.shape == image.shape
    assert (image == before).all()
    assert (once != image).any()
    assert (once == again).all()
    if name not in ("jpeg", "blur"):  # these two hold no chance
        assert (once != other).any()


@pytest.mark.parametrize("name", KINDS)
def test_strengths_are_drawn_from_the_range_that_holds_the_one_of_tests(name):
    kind = KINDS[name]
    drawn = [kind.draw(np.random.default_rng(seed)) for seed in range(200)]
    assert kind.possible[0] <= kind.learnt[0] <= min(drawn)
    assert max(drawn) <= kind.learnt[1] <= kind.possible[1]
    assert kind.learnt[0] <= kind.strength <= kind.learnt[1]


def test_gaussian_noise_has_its_sigma_and_no_bias():
    noise = gaussian(FLAT, 25.0, np.random.default_rng(0)).astype(float) - 128
    assert noise.std() == pytest.approx(25, rel=0.02)
    assert abs(noise.mean()) < 0.3


def test_shot_noise_grows_as_the_root_of_the_light():
    """Of n electrons, the share that is noise is 1 / sqrt(n); the encoding divides it by gamma."""
    electrons = 1000.0
    linear = (128 / 255) ** GAMMA
    noisy = shot(FLAT, electrons, np.random.default_rng(0)).astype(float)
    expected = 128 / (GAMMA * np.sqrt(electrons * linear))
    assert noisy.std() == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize(
    ("spoil", "exposure", "gain"),
    [(lowlight, 0.1, 10), (lowlight, 0.4, 2.5), (lowlight, 0.03, MAX_GAIN), (dark, 0.1, 1), (dark, 0.4, 1)],
)
def test_a_frame_of_little_light_has_the_brightness_and_the_noise_that_the_model_says(spoil, exposure, gain):
    value = 200  # bright enough for noise to be small against the light, as the formula of its spread wants
    frame = spoil(np.full_like(FLAT, value), exposure, np.random.default_rng(0)).astype(float)
    electrons = (value / 255) ** GAMMA * exposure * FULL_WELL
    level = gain * electrons / FULL_WELL
    assert frame.mean() == pytest.approx(255 * level ** (1 / GAMMA), rel=0.05)
    relative = np.sqrt(electrons + READ_NOISE**2) / electrons
    assert frame.std() == pytest.approx(255 * level ** (1 / GAMMA) * relative / GAMMA, rel=0.15)


def test_one_of_several_kinds_is_drawn_and_none_leaves_the_picture():
    image = texture()
    assert spoil_at_random(image, (), np.random.default_rng(0)) is image
    kinds = (KINDS["gaussian"], KINDS["dark"])
    means = [spoil_at_random(FLAT, kinds, np.random.default_rng(seed)).mean() for seed in range(20)]
    assert min(means) < 110 < max(means)


def test_an_unknown_kind_is_refused():
    with pytest.raises(ConfigError, match="no degradation 'fog'; there are gaussian"):
        degradation("fog")
