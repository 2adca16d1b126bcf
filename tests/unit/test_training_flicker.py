"""Flicker on synthetic videos whose answer is known."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest

from training.metrics import FlickerTally

HEIGHT, WIDTH = 96, 160
VOID = 255


def world(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A wide textured picture, and labels of blocks."""
    random = np.random.default_rng(seed)
    texture = cv2.resize(random.integers(0, 256, (40, 100, 3), np.uint8), (400, HEIGHT), interpolation=cv2.INTER_CUBIC)
    labels = np.kron(random.integers(0, 4, (3, 10)), np.ones((HEIGHT // 3, 40))).astype(np.uint8)
    return texture, labels


def video(step: int, frames: int = 6) -> list[tuple[np.ndarray, np.ndarray]]:
    """(frame, truth) of a camera that moves by ``step`` pixels a frame."""
    texture, labels = world()
    return [
        (np.ascontiguousarray(texture[:, k * step :][:, :WIDTH]), labels[:, k * step :][:, :WIDTH].copy())
        for k in range(frames)
    ]


def tally_of(frames: list[tuple[np.ndarray, np.ndarray]], predictions: list[np.ndarray]) -> FlickerTally:
    tally = FlickerTally()
    for (image, truth), prediction in zip(frames, predictions):
        tally.add(image, prediction, truth)
    return tally


@pytest.mark.parametrize("step", [0, 3, 7])
def test_predictions_that_move_with_the_scene_do_not_flicker(step: int) -> None:
    frames = video(step)
    tally = tally_of(frames, [truth for _, truth in frames])
    assert tally.of_truth == 0
    assert tally.of_flow < 0.02  # flow is uncertain at the edges of blocks


@pytest.mark.parametrize("share", [0.05, 0.3])
def test_labels_that_flip_at_random_are_counted(share: float) -> None:
    frames = video(0)
    random = np.random.default_rng(1)
    noisy = [np.where(random.random(truth.shape) < share, 9, truth) for _, truth in frames]
    tally = tally_of(frames, noisy)
    expected = 2 * share * (1 - share)  # flipped in one of two frames, not in both
    assert tally.of_truth == pytest.approx(expected, rel=0.05)
    assert tally.of_flow == pytest.approx(expected, rel=0.05)


def test_a_wrong_answer_that_stays_is_no_flicker_and_one_that_comes_and_goes_is() -> None:
    frames = video(0)
    wrong = [np.full((HEIGHT, WIDTH), 7, np.uint8)] * len(frames)
    assert tally_of(frames, wrong).of_truth == 0
    blinking = [truth if k % 2 else np.full_like(truth, 7) for k, (_, truth) in enumerate(frames)]
    tally = tally_of(frames, blinking)
    assert tally.of_truth == 1
    assert tally.of_flow > 0.99


def test_a_moving_scene_predicted_as_if_it_stood_still_flickers_by_flow() -> None:
    frames = video(7)
    still = [frames[0][1]] * len(frames)
    tally = tally_of(frames, still)
    assert tally.of_truth == 0
    assert tally.of_flow > 0.05


def test_void_does_not_count() -> None:
    frames = [(image, np.full_like(truth, VOID)) for image, truth in video(0)]
    assert math.isnan(tally_of(frames, [np.zeros((HEIGHT, WIDTH), np.uint8)] * 6).of_truth)


def test_a_cut_and_a_frame_of_another_size_start_anew() -> None:
    (image, truth), *_ = video(0)
    other = np.full_like(truth, 7)
    tally = FlickerTally()
    assert math.isnan(tally.of_flow)
    tally.add(image, truth, truth)
    tally.restart()
    tally.add(image, other, truth)
    tally.add(image[:50].copy(), truth[:50], truth[:50])
    assert math.isnan(tally.of_truth)
    assert math.isnan(tally.of_flow)


def test_without_truth_there_is_flicker_of_flow_alone() -> None:
    tally = FlickerTally()
    for image, truth in video(0):
        tally.add(image, truth)
    assert math.isnan(tally.of_truth)
    assert tally.of_flow == 0
