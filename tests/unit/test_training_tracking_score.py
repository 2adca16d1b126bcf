"""Tracking scores against the two libraries that are known for them, and by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("motmetrics", reason="scores of tracks need the extra [tracking]")
pytest.importorskip("scipy", reason="scores of tracks need the extra [tracking]")

from training.metrics.tracking import TrackingScore, TrackingTally

Frames = list[tuple[Any, Any, Any]]


def drive(seed: int, frames: int = 60) -> Frames:
    """Objects that come, go, are missed and change their predicted track, with overlaps of all sizes."""
    random, found = np.random.default_rng(seed), []
    for _ in range(frames):
        truth = np.flatnonzero(random.random(8) < 0.8)
        tracks = np.where(random.random(8) < 0.05, random.integers(20, 26, 8), np.arange(8) + 10)[truth]
        tracks, first = np.unique(tracks, return_index=True)
        kept = random.random(len(tracks)) < 0.9
        similarity = random.uniform(0, 0.4, (len(truth), len(truth)))
        np.fill_diagonal(similarity, random.uniform(0.3, 1, len(truth)))
        found.append((truth, tracks[kept], similarity[:, first[kept]]))
    return found


def score(*drives: Frames) -> TrackingScore:
    tally = TrackingTally()
    for frames in drives:
        tally.restart()
        for frame in frames:
            tally.add(*frame)
    return tally.score()


def official(frames: Frames) -> dict[str, float]:
    """TrackEval's figures; it is not among our extras, for it replaces OpenCV by the one with windows."""
    trackeval = pytest.importorskip("trackeval", reason="needs trackeval")
    truth = np.unique(np.concatenate([frame[0] for frame in frames]))
    found = np.unique(np.concatenate([frame[1] for frame in frames]))
    data = {
        "num_gt_ids": len(truth),
        "num_tracker_ids": len(found),
        "num_timesteps": len(frames),
        "num_gt_dets": sum(len(frame[0]) for frame in frames),
        "num_tracker_dets": sum(len(frame[1]) for frame in frames),
        "gt_ids": [np.searchsorted(truth, frame[0]) for frame in frames],
        "tracker_ids": [np.searchsorted(found, frame[1]) for frame in frames],
        "similarity_scores": [frame[2] for frame in frames],
    }
    quiet = {"PRINT_CONFIG": False}
    metrics = (trackeval.metrics.HOTA(), trackeval.metrics.CLEAR(quiet), trackeval.metrics.Identity(quiet))
    return {name: float(np.mean(value)) for metric in metrics for name, value in metric.eval_sequence(data).items()}


@pytest.mark.parametrize("seed", range(3))
def test_figures_are_those_of_trackeval(seed: int) -> None:
    frames = drive(seed)
    expected, found = official(frames), score(frames)
    assert found.hota == pytest.approx(expected["HOTA"], abs=1e-9)
    assert found.deta == pytest.approx(expected["DetA"], abs=1e-9)
    assert found.assa == pytest.approx(expected["AssA"], abs=1e-9)
    assert found.mota == pytest.approx(expected["MOTA"], abs=1e-9)
    assert found.idf1 == pytest.approx(expected["IDF1"], abs=1e-9)
    assert found.switches == expected["IDSW"]


def test_figures_that_trackeval_gave_once() -> None:
    """TrackEval 1.3.0 on drive(0)."""
    found = score(drive(0))
    assert (found.hota, found.mota, found.idf1) == pytest.approx((0.494301806, 0.269035533, 0.613333333), abs=1e-8)


def test_perfect_tracks_score_one_and_two_drives_share_no_track() -> None:
    frames = [(np.array([1, 2]), np.array([5, 9]), np.eye(2))] * 10
    found = score(frames)
    assert (found.mota, found.idf1, found.hota, found.switches, found.tracks) == (1, 1, 1, 0, 2)
    swapped = [(truth, tracks[::-1], similarity) for truth, tracks, similarity in frames]
    both = score(frames, swapped)
    assert (both.mota, both.idf1, both.hota, both.switches, both.tracks, both.found_tracks) == (1, 1, 1, 0, 4, 4)


def test_one_change_of_identity_in_the_middle() -> None:
    one, other = (np.array([1]), np.array([5]), np.eye(1)), (np.array([1]), np.array([6]), np.eye(1))
    found = score([one] * 5 + [other] * 5)
    assert found.mota == pytest.approx(0.9)
    assert found.idf1 == pytest.approx(0.5)
    assert found.switches == 1
    assert found.hota == pytest.approx(0.5**0.5)  # every pair shares half of the true track's life


def test_drives_without_objects_have_no_figure() -> None:
    nothing = np.zeros(0, np.int64)
    found = score([(nothing, nothing, np.zeros((0, 0)))]).to_json()
    assert (found["mota"], found["idf1"], found["hota"], found["frames"]) == (None, None, None, 1)
    missed = score([(np.array([1]), nothing, np.zeros((1, 0)))]).to_json()
    assert (missed["mota"], missed["idf1"], missed["hota"]) == (0.0, 0.0, 0.0)
    invented = score([(nothing, np.array([1]), np.zeros((0, 1)))]).to_json()
    assert invented["mota"] is None


def test_objects_without_a_track_are_each_one_of_their_own() -> None:
    truth, alike = np.array([1, 2]), np.eye(2)
    found = score([(truth, np.array([-1, -1]), alike)] * 3)
    assert (found.found_tracks, found.switches) == (6, 4)
    assert found == score([(truth, np.array([10 * k, 10 * k + 1]), alike) for k in range(3)])
