"""The rendered street: exact truth, determinism, random access, tracks."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys

import cv2
import numpy as np
import pytest

from perception.classes import CITYSCAPES
from perception.synth import WEATHERS, Street, SynthFrame
from perception.synth.palette import LABEL_IDS, ROAD, SKY

SIZE = (160, 90)
THINGS = CITYSCAPES.thing_ids()


@pytest.fixture(scope="module")
def street() -> Street:
    return Street(1, (320, 180))


@pytest.fixture(scope="module")
def ride(street: Street) -> list[SynthFrame]:
    """Every 25th of the first 600 frames."""
    return [street.render(number) for number in range(0, 600, 25)]


@pytest.fixture(scope="module")
def walk() -> list[SynthFrame]:
    """Four seconds, ten frames a second."""
    street = Street(3, (320, 180), fps=10)
    return [street.render(number) for number in range(40)]


def test_every_class_has_its_share_of_the_first_600_frames(ride: list[SynthFrame]) -> None:
    counts = sum(np.bincount(frame.labels.ravel(), minlength=256) for frame in ride)
    share = counts / counts.sum()
    assert share[len(LABEL_IDS) :].sum() == 0
    assert {CITYSCAPES.name(k): share[k] for k in range(len(LABEL_IDS)) if share[k] < 0.0008} == {}


def test_labels_and_instances_agree_on_every_pixel(ride: list[SynthFrame]) -> None:
    label_ids = np.array(LABEL_IDS)
    for frame in ride:
        is_thing = np.isin(frame.labels, THINGS)
        assert ((frame.instances >= 1000) == is_thing).all()
        of_instance = np.where(is_thing, frame.instances // 1000, frame.instances)
        assert (of_instance == label_ids[frame.labels]).all()


def test_objects_are_what_the_instance_map_shows(ride: list[SynthFrame]) -> None:
    for frame in ride:
        ids, areas = np.unique(frame.instances[frame.instances >= 1000], return_counts=True)
        assert {o.instance_id: o.area for o in frame.objects} == dict(zip(ids.tolist(), areas.tolist()))
        assert all(o.instance_id // 1000 == LABEL_IDS[o.class_id] for o in frame.objects)
        assert len({o.track for o in frame.objects}) == len(frame.objects)
        distances = [o.distance for o in frame.objects]
        assert distances == sorted(distances)
        assert -10 < distances[0] < distances[-1] < 250, "metres"


def test_instances_of_a_class_are_numbered_without_gaps(ride: list[SynthFrame]) -> None:
    for frame in ride:
        for class_id in THINGS:
            numbers = sorted(o.instance_id % 1000 for o in frame.objects if o.class_id == class_id)
            assert numbers == list(range(len(numbers)))


def test_edges_of_the_labels_are_edges_of_the_image(ride: list[SynthFrame]) -> None:
    inside, across = [], []
    for frame in ride:
        step = np.abs(np.diff(frame.image.astype(int), axis=1)).sum(axis=2)
        changes = np.diff(frame.labels.astype(int), axis=1) != 0
        across.append(step[changes].mean())
        inside.append(step[~changes].mean())
    assert np.mean(across) > 3 * np.mean(inside)


def test_the_road_lies_below_and_the_sky_above(ride: list[SynthFrame]) -> None:
    for frame in ride:
        rows = np.arange(frame.labels.shape[0])[:, None] * np.ones_like(frame.labels)
        assert rows[frame.labels == SKY].max() < rows[frame.labels == ROAD].mean()


@pytest.mark.parametrize("weather", WEATHERS)
def test_random_access_gives_what_a_run_gives(weather: str) -> None:
    run = Street(5, SIZE, weather=weather)  # type: ignore[arg-type]
    for number in range(0, 300, 30):
        frame = run.render(number)
    Street(5, SIZE, weather="night").render(270)  # another light may not leave anything behind
    alone = Street(5, SIZE, weather=weather).render(270)  # type: ignore[arg-type]
    assert frame.number == alone.number == 270
    np.testing.assert_array_equal(frame.image, alone.image)
    np.testing.assert_array_equal(frame.instances, alone.instances)
    assert frame.objects == alone.objects


def test_seeds_weathers_and_frames_differ() -> None:
    images = [
        Street(seed, SIZE, weather=weather).render(number).image.tobytes()
        for seed, weather, number in ((1, "day", 0), (2, "day", 0), (1, "rain", 0), (1, "day", 9))  # type: ignore[arg-type]
    ]
    assert len(set(images)) == 4


def test_time_depends_on_fps_alone() -> None:
    fast, slow = Street(1, SIZE, fps=30), Street(1, SIZE, fps=10)
    np.testing.assert_array_equal(fast.render(90).labels, slow.render(30).labels)


HASH = """
import hashlib, sys, cv2
cv2.setNumThreads(int(sys.argv[1]))
from perception.synth import Street
digest = hashlib.sha256()
for weather in ("day", "night", "rain"):
    frame = Street(7, (160, 90), weather=weather).render(123)
    for array in (frame.image, frame.labels, frame.instances):
        digest.update(array.tobytes())
    digest.update(repr(frame.objects).encode())
print(digest.hexdigest())
"""


def test_two_processes_render_the_same_bytes() -> None:
    def run(threads: int, hash_seed: str) -> str:
        env = {**os.environ, "PYTHONHASHSEED": hash_seed, "OMP_NUM_THREADS": str(threads)}
        command = [sys.executable, "-c", HASH, str(threads)]
        return subprocess.run(command, env=env, check=True, capture_output=True, text=True).stdout

    assert run(1, "1") == run(3, "2")


def test_a_track_keeps_its_class(walk: list[SynthFrame]) -> None:
    classes: dict[int, set[int]] = {}
    for frame in walk:
        for o in frame.objects:
            classes.setdefault(o.track, set()).add(o.class_id)
    assert all(len(found) == 1 for found in classes.values())


def test_what_is_large_in_one_frame_has_the_same_track_nearby_in_the_next(walk: list[SynthFrame]) -> None:
    met = 0
    for before, after in itertools.pairwise(walk):
        later = {o.track: o for o in after.objects}
        for o in before.objects:
            if o.area < 150 or o.track not in later:
                continue
            old = cv2.dilate((before.instances == o.instance_id).astype(np.uint8), np.ones((41, 41), np.uint8))
            assert (old[after.instances == later[o.track].instance_id] > 0).any()
            met += 1
    assert met > 100


def test_moving_objects_stay_for_many_frames(walk: list[SynthFrame]) -> None:
    seen: dict[int, list[int]] = {}
    for frame in walk:
        for o in frame.objects:
            seen.setdefault(o.track, []).append(frame.number)
    longest = sorted((len(numbers) for numbers in seen.values()), reverse=True)
    assert longest[0] == len(walk)
    assert longest[20] > 10


def test_tracks_are_never_used_again(street: Street) -> None:
    parked = 1 << 40
    early, late = ({o.track for o in street.render(n).objects if o.track >= parked} for n in (0, 3000))
    assert early
    assert late
    assert not early & late


def test_the_street_is_endless(street: Street) -> None:
    frame = street.render(1_000_000)
    assert len(np.unique(frame.labels)) > 8


@pytest.mark.parametrize("size", [(64, 64), (101, 67), (90, 160), (512, 96)])
def test_any_shape_can_be_rendered(size: tuple[int, int]) -> None:
    frame = Street(2, size).render(40)
    assert frame.image.shape == (size[1], size[0], 3)
    assert frame.labels.shape == frame.instances.shape == (size[1], size[0])
    assert frame.instances.dtype == np.int32


def test_a_night_is_darker_than_a_day() -> None:
    day, night = (Street(1, SIZE, weather=w).render(60).image.mean() for w in ("day", "night"))  # type: ignore[arg-type]
    assert night < 0.6 * day


def test_the_package_needs_only_numpy_and_opencv() -> None:
    script = "import perception.synth, sys; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert not set(done.stdout.split()) & {"onnxruntime", "tensorflow", "training", "av", "zmq", "scipy"}
