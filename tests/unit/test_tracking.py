"""Tracks: who goes on as whom, what ends a track, and what no sequence of frames may do."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scenes import make_scene

from perception.stages.track import tracked
from perception.tracking.association import LastMasks, best_first, box_overlap
from perception.tracking.clock import USUAL_S, ContentClock
from perception.tracking.motion import Motions
from perception.tracking.tracker import MOST_OBJECTS, PATIENCE_S, UNTRACKED, Tracker
from perception.types import CaptureTime, Scene

CAR, TRUCK, PERSON = 13, 14, 11
FRAME_S = 1 / 30
PIXEL = (1 / 640, 1 / 360)


def follow(tracker: Tracker, *boxes: tuple[float, ...], seconds: float = FRAME_S, class_id: int = CAR) -> list[int]:
    array = np.array(boxes, float).reshape(-1, 4)
    return tracker.follow(array, np.full(len(array), class_id, np.uint8), seconds=seconds, pixel=PIXEL).tolist()


def moving(t: float, *, x: float = 0.1, speed: float = 0.2, y: float = 0.5) -> tuple[float, ...]:
    """A box of a tenth of the frame that moves to the right."""
    return x + speed * t, y, x + speed * t + 0.1, y + 0.1


def test_objects_that_pass_each_other_keep_their_tracks() -> None:
    tracker = Tracker()
    seen = []
    for k in range(60):
        t = k * FRAME_S
        seen.append(follow(tracker, moving(t), moving(t, x=0.5, speed=-0.2)))
    assert seen == [[1, 2]] * 60


@pytest.mark.parametrize("step", [FRAME_S, 0.1])
def test_a_second_out_of_sight_ends_no_track(step: float) -> None:
    tracker = Tracker()
    times = np.arange(0, 3, step)
    tracks = [follow(tracker, *([] if 1 < t < 2 else [moving(t)]), seconds=step) for t in times]
    assert {track for found in tracks for track in found} == {1}


def test_what_is_away_for_longer_than_the_patience_comes_back_as_another() -> None:
    tracker = Tracker()
    assert follow(tracker, moving(0, speed=0)) == [1]
    assert follow(tracker, seconds=PATIENCE_S - 0.1) == []
    assert follow(tracker, moving(0, speed=0), seconds=0.05) == [1]
    assert follow(tracker, moving(0, speed=0), seconds=PATIENCE_S + 0.1) == [2]


def test_dropped_frames_are_bridged_by_time_not_by_count() -> None:
    """The box moves by more than its width between two frames; only the time between them tells by how much."""
    tracker, t = Tracker(), 0.0
    for gap in [FRAME_S] * 20 + [0.5, FRAME_S, FRAME_S, 0.8]:
        t += gap
        assert follow(tracker, moving(t, speed=0.3), seconds=gap) == [1]


def test_neighbours_move_alike_while_the_camera_turns() -> None:
    """Things a hundredth of the frame wide that all move by more than their width, one of them new each time."""
    tracker = Tracker()
    before: dict[float, int] = {}
    for k in range(30):
        shift = 0.35 * k * FRAME_S
        places = [place for place in np.arange(0.0, 1.2, 0.05) if 0 <= place - shift < 0.98]
        boxes = [(place - shift, 0.5, place - shift + 0.008, 0.55) for place in places]
        tracks = dict(zip(places, follow(tracker, *boxes, class_id=PERSON)))
        if k > 12:
            assert all(tracks[place] == before[place] for place in tracks.keys() & before.keys())
        before = tracks


def test_a_class_that_changes_its_mind_keeps_the_track_and_another_object_does_not_take_it() -> None:
    tracker = Tracker()
    assert follow(tracker, moving(0), class_id=CAR) == [1]
    assert follow(tracker, moving(0), class_id=TRUCK) == [1]
    rider_on_a_bicycle = (moving(0), (0.1, 0.45, 0.2, 0.55))
    both = np.array(rider_on_a_bicycle)
    assert tracker.follow(both, np.array([TRUCK, PERSON], np.uint8), seconds=FRAME_S, pixel=PIXEL).tolist() == [1, 2]


def test_masks_tell_apart_what_boxes_cannot() -> None:
    """Two interlocked objects share one box; the order in which they come changes."""
    ids = np.zeros((20, 20), np.uint16)
    ids[:, :10], ids[:, 10:] = 1, 2
    ids[0], ids[-1] = 1, 2
    tracker, boxes = Tracker(), np.array([[0, 0, 1, 1], [0, 0, 1, 1]], float)
    arguments = {"class_ids": np.full(2, CAR, np.uint8), "seconds": FRAME_S, "pixel": (0.05, 0.05)}
    assert tracker.follow(boxes, ids=ids, **arguments).tolist() == [1, 2]
    assert tracker.follow(boxes, ids=(3 - ids).astype(np.uint16), **arguments).tolist() == [2, 1]
    assert tracker.follow(boxes, ids=ids[:10], **arguments).tolist() == [1, 2], "a map of another size tells nothing"


steps = st.lists(
    st.tuples(
        st.lists(st.tuples(*[st.floats(0, 1)] * 2, *[st.floats(0, 0.5)] * 2), max_size=6),
        st.floats(1e-6, 5),
    ),
    max_size=12,
)


@given(steps)
def test_whatever_comes_tracks_are_unique_and_never_given_twice(frames: list) -> None:
    tracker, ended, alive = Tracker(), set(), set()
    for places, seconds in frames:
        boxes = [(x, y, x + w, y + h) for x, y, w, h in places]
        tracks = follow(tracker, *boxes, seconds=seconds)
        assert len(set(tracks)) == len(boxes)
        assert not ended & set(tracks)
        known = set(tracker._numbers.tolist())
        ended |= (alive | set(tracks)) - known
        alive = known


def test_more_objects_than_are_tracked_leaves_out_the_smallest() -> None:
    tracker = Tracker()
    count = MOST_OBJECTS + 100
    sizes = np.linspace(0.001, 0.01, count)
    places = np.linspace(0, 0.9, count)
    boxes = np.stack([places, places, places + sizes, places + sizes], axis=1)
    classes = np.full(count, CAR, np.uint8)
    tracks = tracker.follow(boxes, classes, seconds=FRAME_S, pixel=PIXEL)
    assert (tracks[:100] == UNTRACKED).all()
    assert len(set(tracks[100:].tolist())) == MOST_OBJECTS
    np.testing.assert_array_equal(tracker.follow(boxes, classes, seconds=FRAME_S, pixel=PIXEL), tracks)


def test_a_world_that_changes_every_frame_does_not_pile_up() -> None:
    tracker, random = Tracker(), np.random.default_rng(0)
    for _ in range(20):
        corners = random.random((MOST_OBJECTS, 2)) * 0.9
        boxes = np.concatenate([corners, corners + 0.001], axis=1)
        tracker.follow(boxes, np.full(MOST_OBJECTS, CAR, np.uint8), seconds=0.001, pixel=PIXEL)
    assert len(tracker) <= 3 * MOST_OBJECTS


def test_the_filter_finds_a_constant_velocity_and_doubts_what_it_does_not_see() -> None:
    motions = Motions()
    motions.append(np.array([moving(0)]), np.zeros(0, bool))
    for k in range(1, 40):
        motions.advance(FRAME_S, np.zeros(1, bool))
        motions.measure(np.array([0]), np.array([moving(k * FRAME_S)]), np.array(PIXEL))
    np.testing.assert_allclose(motions.pace[0], [0.2, 0, 0, 0], atol=1e-2)
    sure = motions.doubt()
    one, many = motions.boxes().copy(), motions.doubt()
    motions.advance(0.5, np.ones(1, bool))
    assert motions.boxes()[0, 0] > one[0, 0] + 0.09
    assert (motions.doubt() > 3 * sure).all()
    assert (many == sure).all()


def test_pairs_are_taken_by_falling_affinity_each_row_and_column_once() -> None:
    rows, columns = best_first(np.array([[0.5, 0.9], [0.4, 0.8], [0.1, 0.0]]), 0.2)
    assert list(zip(rows.tolist(), columns.tolist())) == [(0, 1), (1, 0)]
    assert best_first(np.zeros((0, 3)), 0.1)[0].tolist() == []


def test_overlap_of_boxes_is_the_share_of_pixels_and_margins_bring_near_what_is_apart() -> None:
    one, other = np.array([[0.0, 0, 2, 2]]), np.array([[1.0, 0, 3, 2], [5, 5, 6, 6], [0, 0, 2, 2]])
    none, wide = np.zeros((1, 2)), np.full((1, 2), 3.0)
    np.testing.assert_allclose(box_overlap(one, other, none), [[1 / 3, 0, 1]])
    assert 0 < box_overlap(one, other, wide)[0, 1] < box_overlap(one, other, wide)[0, 0] < 1
    assert box_overlap(np.zeros((1, 4)), np.zeros((1, 4)), none).tolist() == [[0.0]]


def test_overlap_of_masks_is_counted_pixel_by_pixel_of_every_second_row_and_column() -> None:
    random = np.random.default_rng(0)
    before, now = (random.integers(0, 4, (9, 11)).repeat(2, 0).repeat(2, 1).astype(np.uint16) for _ in range(2))
    masks, tracks = LastMasks(), np.array([7, -1, 5])
    masks.show(before, tracks)
    table = masks.overlap(np.array([5, 9, 7]), now, np.arange(3))
    for row, track in enumerate([5, 9, 7]):
        for column in range(3):
            mine = before == tracks.tolist().index(track) + 1 if track != 9 else np.zeros_like(before, bool)
            its = now == column + 1
            assert table[row, column] == pytest.approx((mine & its).sum() / (mine | its).sum())
    some = masks.overlap(np.array([5, 9, 7]), now, np.array([2]))
    np.testing.assert_array_equal(some, table[:, 2:])


def at(seconds: float, clock: str = "media") -> CaptureTime:
    return CaptureTime(0, 0, round(seconds * 1e9), clock)  # type: ignore[arg-type]


def test_steps_are_those_of_the_content_and_always_positive() -> None:
    clock = ContentClock()
    found = [clock.step(at(t)) for t in (5.0, 5.1, 5.1, 5.05, 5.25)]
    assert found[0] is None
    assert found[1:] == pytest.approx([0.1, 0.1, 0.1, 0.2])
    assert clock.step(at(2.0)) is None, "a loop, or a seek"
    assert clock.step(at(2.0)) == pytest.approx(0.2)
    assert ContentClock().step(at(0)) is None
    still = ContentClock()
    still.step(at(0))
    assert still.step(at(0)) == USUAL_S


def test_cameras_go_by_the_grab_and_replays_by_the_recording() -> None:
    clock = ContentClock()
    clock.step(CaptureTime(99, 10**9, 123))
    assert clock.step(CaptureTime(0, 3 * 10**9, 123)) == 2.0
    replayed = ContentClock()
    replayed.step(CaptureTime(99, 10**9, original_ns=5 * 10**9))
    assert replayed.step(CaptureTime(100, 10**9, original_ns=6 * 10**9)) == 1.0
    assert replayed.step(CaptureTime(100, 10**9)) is None, "the clocks do not compare"


def drive(seconds: list[float], stream: str = "front", **options: bool) -> list[Scene]:
    return [make_scene(k, stream=stream, time=at(t), **options) for k, t in enumerate(seconds)]


def tracks_of(scenes: list[Scene]) -> list[list[int] | None]:
    done = list(tracked()(scenes))
    return [None if s.instances is None or s.instances.tracks is None else s.instances.tracks.tolist() for s in done]


@pytest.mark.parametrize("overlapping", [False, True])
def test_the_stage_gives_every_object_a_track_and_says_how_long_it_took(overlapping: bool) -> None:
    (scene, *_) = done = list(tracked()(drive([0, 0.04, 0.08], overlapping=overlapping)))
    assert [s.instances.tracks.tolist() for s in done] == [[1, 2]] * 3  # type: ignore[union-attr]
    assert "track" in scene.latency.spent_ns


def test_streams_are_tracked_apart() -> None:
    left, right = drive([0, 0.04], "left"), drive([10, 3], "right")
    assert tracks_of([left[0], right[0], left[1], right[1]]) == [[1, 2], [1, 2], [1, 2], [3, 4]]


def test_a_loop_begins_new_tracks_and_a_short_rest_does_not() -> None:
    assert tracks_of(drive([8, 8.04, 0, 0.04])) == [[1, 2], [1, 2], [3, 4], [3, 4]]
    unwanted = [replace(scene, instances=None) for scene in drive([0.04, 0.08])]
    back = drive([0, 1.0, 4.0])
    assert tracks_of([back[0], *unwanted, back[1], back[2]]) == [[1, 2], None, None, [1, 2], [3, 4]]


def test_frames_without_objects_pass_and_keep_the_tracks() -> None:
    scenes = drive([0, 0.04, 0.08])
    instances = scenes[1].instances
    assert instances is not None
    assert instances.ids is not None
    nothing = replace(
        instances,
        class_ids=instances.class_ids[:0],
        scores=instances.scores[:0],
        boxes=instances.boxes[:0],
        areas=instances.areas[:0],
        ids=np.zeros_like(instances.ids),
    )
    assert tracks_of([scenes[0], replace(scenes[1], instances=nothing), scenes[2]]) == [[1, 2], [], [1, 2]]
