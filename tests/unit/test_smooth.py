"""Smoothing: flicker goes, edges move with the picture, and nothing is carried where it should not be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from scenes import make_scene

from perception.stages.smooth import smoothed
from perception.types import VOID, CaptureTime, Scene, Segmentation

ROAD, CAR = 0, 13
STEP_NS = 40_000_000
Labels = npt.NDArray[np.uint8]


def textured(seed: int = 1) -> npt.NDArray[np.uint8]:
    noise = np.random.default_rng(seed).normal(0, 450, (96, 128)).astype(np.float32)
    grey = np.clip(128 + cv2.GaussianBlur(noise, (0, 0), 2), 0, 255).astype(np.uint8)
    return np.asarray(cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR), np.uint8)


def scene(number: int, labels: Labels, sure: int | Labels = 150, image: npt.NDArray[np.uint8] | None = None) -> Scene:
    made = make_scene(number)
    captured = CaptureTime(number * STEP_NS, number * STEP_NS)
    confidence = np.broadcast_to(np.asarray(sure, np.uint8), labels.shape).copy()
    frame = replace(made.frame, time=captured, image=textured() if image is None else image)
    return replace(made, frame=frame, segmentation=Segmentation(labels, confidence), instances=None)


def labels_after(scenes: Sequence[Scene]) -> list[Labels]:
    return [out.segmentation.labels for out in smoothed()(scenes) if out.segmentation is not None]


def flat(label: int = ROAD) -> Labels:
    return np.full((48, 64), label, np.uint8)


def flickering(number: int) -> Scene:
    """Road, with a patch that an unsure network calls a car in every third frame."""
    labels, sure = flat(), np.full((48, 64), 150, np.uint8)
    if number % 3 == 2:
        labels[10:20, 10:20], sure[10:20, 10:20] = CAR, 90
    return scene(number, labels, sure)


def test_flicker_goes() -> None:
    scenes = [flickering(number) for number in range(9)]
    out = list(smoothed()(scenes))
    for before, after in zip(scenes, out):
        assert after.segmentation is not None
        assert before.segmentation is not None
        assert not (after.segmentation.labels == CAR).any()
        assert "smooth" in after.latency.spent_ns
    assert scenes[2].segmentation is not None
    assert (scenes[2].segmentation.labels == CAR).any(), "a stage replaces, it never edits"


def test_what_is_new_and_sure_is_believed_at_once() -> None:
    with_car = flat()
    with_car[10:20, 10:20] = CAR
    out = labels_after([*(scene(n, flat(), 200) for n in range(5)), scene(5, with_car, 240)])
    np.testing.assert_array_equal(out[5], with_car)


def test_what_is_new_and_doubtful_is_believed_after_two_frames() -> None:
    with_car = flat()
    with_car[10:20, 10:20] = CAR
    out = labels_after([*(scene(n, flat(), 250) for n in range(5)), *(scene(n, with_car, 130) for n in range(5, 9))])
    np.testing.assert_array_equal(out[5], flat())
    np.testing.assert_array_equal(out[7], with_car)


def test_an_edge_moves_with_the_picture() -> None:
    """The whole view shifts by four pixels of the picture, two of the map, a frame; the network is unsure of all."""
    wide = np.tile(textured(), (1, 2, 1))
    scenes, truths = [], []
    for number in range(8):
        truth = flat()
        truth[:, 40 - 2 * number :] = CAR
        truths.append(truth)
        image = np.ascontiguousarray(wide[:, 4 * number : 4 * number + 128])
        scenes.append(scene(number, truth, 130, image))
    for out, truth in zip(labels_after(scenes), truths):
        assert (out != truth).mean() < 0.01


@pytest.mark.parametrize(("right", "down"), [(6, 0), (0, 6), (-6, 6)])
def test_what_the_past_knows_goes_where_the_picture_goes(right: int, down: int) -> None:
    """The view shifts by six pixels of the picture, three of the map, a frame; in the last the network sees no car."""
    wide = np.tile(textured(), (2, 2, 1))
    scenes = []
    for number in range(6):
        top, left = 60 - down * number, 60 - right * number
        image = np.ascontiguousarray(wide[top : top + 96, left : left + 128])
        labels = flat()
        y, x = 16 + down * number // 2, 24 + right * number // 2
        labels[y : y + 16, x : x + 16] = CAR
        scenes.append(scene(number, labels if number < 5 else flat(), 200 if number < 5 else 60, image))
    found = labels_after(scenes)[-1] == CAR
    assert (found & (labels == CAR)).sum() > 0.85 * (found | (labels == CAR)).sum()


def later(one: Scene, nanoseconds: int) -> Scene:
    moved = replace(one.frame.time, captured_mono_ns=one.frame.time.captured_mono_ns + nanoseconds)
    return replace(one, frame=replace(one.frame, time=moved))


@pytest.mark.parametrize("how", ["gap", "back", "cut", "model", "size", "stream", "unwatched"])
def test_nothing_is_carried_across(how: str) -> None:
    past = [scene(number, flat(), 255) for number in range(5)]
    doubtful = scene(5, flat(CAR), 100)
    if how == "gap":
        doubtful = later(doubtful, 2_000_000_000)
    elif how == "back":
        doubtful = later(doubtful, -3 * STEP_NS)
    elif how == "cut":
        doubtful = scene(5, flat(CAR), 100, 255 - textured(9))
    elif how == "model":
        doubtful = replace(doubtful, model=1)
    elif how == "size":
        doubtful = scene(5, np.full((24, 32), CAR, np.uint8), 100)
    elif how == "stream":
        doubtful = replace(doubtful, frame=replace(doubtful.frame, stream="rear"))
    else:
        past.append(replace(scene(4, flat()), segmentation=None))
    assert (labels_after([*past, doubtful])[-1] == CAR).all()
    plain = labels_after([*(scene(number, flat(), 255) for number in range(5)), scene(5, flat(CAR), 100)])
    assert (plain[-1] == ROAD).mean() > 0.9, "it is carried otherwise"


def test_files_are_timed_by_their_own_clock() -> None:
    """Read at full speed, frames come sooner than they were taken: a gap in the film is one all the same."""
    past = scene(0, flat(), 255)
    doubtful = scene(1, flat(CAR), 100)
    film = [CaptureTime(n, n, media_ns=n * 1_000_000_000, clock="media") for n in (1, 2)]
    scenes = [replace(one, frame=replace(one.frame, time=at)) for one, at in zip((past, doubtful), film)]
    assert (labels_after(scenes)[-1] == CAR).all()


def test_void_neither_votes_nor_is_voted_away() -> None:
    masked = flat()
    masked[:10] = VOID
    out = labels_after([scene(0, flat(), 255), scene(1, masked, 255), scene(2, flat(CAR), 60)])
    assert (out[1][:10] == VOID).all()
    assert (out[2][:10] == CAR).mean() > 0.9
    assert (out[2][14:] == ROAD).mean() > 0.9


def test_a_small_stream_changes_nothing_in_a_large_one() -> None:
    wide = np.tile(textured(), (4, 4, 1))
    large, both = [], []
    for number in range(6):
        labels = np.full((90, 160), ROAD, np.uint8)
        if number < 5:
            labels[20 + number : 50 + number, 40 + 2 * number : 80 + 2 * number] = CAR
        top, left = 60 - 3 * number, 60 - 5 * number
        image = np.ascontiguousarray(wide[top : top + 180, left : left + 320])
        large.append(scene(number, labels, 200 if number < 5 else 60, image))
        small = scene(number, np.full((20, 30), ROAD, np.uint8), 200)
        both += [replace(small, frame=replace(small.frame, stream="small")), large[-1]]
    alone, beside = labels_after(large), labels_after(both)[1::2]
    assert (alone[-1] == CAR).any()
    for one, other in zip(alone, beside, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("shape", [(4, 8), (16, 240), (28, 240), (240, 16), (30, 600)])
def test_frames_smaller_or_longer_than_the_flow_takes_go_through(shape: tuple[int, int]) -> None:
    """OpenCV's flow does not refuse what is too low for its width: it ends the process."""
    picture = cv2.resize(textured(), (2 * shape[1], 2 * shape[0]))
    scenes = [scene(n, np.full(shape, ROAD, np.uint8), 100, np.asarray(picture, np.uint8)) for n in range(3)]
    assert [out.shape for out in labels_after(scenes)] == [shape] * 3
