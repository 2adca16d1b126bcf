"""What a replay is made of: its clock, its chaos, and the comparison of a verification."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scenes import make_scene

from perception.cli.replay import share_from_text
from perception.errors import ConfigError
from perception.recording.chaos import Chaos, Weather, chaos_from_text
from perception.recording.timeline import Timeline
from perception.recording.verify import changed_objects
from perception.types import Instances
from perception.wire.header import Header, Times
from perception.wire.message import Message
from perception.wire.objects import ObjectTable


def published(mono_s: float, unix_s: float, boot: int = 1) -> Message:
    times = Times(round(unix_s * 1e9), round(mono_s * 1e9))
    header = Header((1, 0), "front", "status", bytes(16), bytes([boot] * 8), 0, times, (), (), None, None)  # type: ignore[arg-type]
    return Message(header, ())


def test_distances_are_those_of_the_monotonic_clock() -> None:
    timeline = Timeline()
    # The Unix clock is set back by an hour in between, and one message comes out of order.
    times = [(100.0, 5000.0), (100.5, 5000.5), (101.0, 1401.0), (100.9, 1400.9), (102.0, 1402.0)]
    assert [timeline.place(published(*both)) for both in times] == [0, 0.5, 1.0, 1.0, 2.0]


@pytest.mark.parametrize(("unix_s", "place"), [(1003.0, 3.0), (9000.0, 5.0), (500.0, 0.0)])
def test_another_boot_is_placed_by_the_unix_clock_within_reason(unix_s: float, place: float) -> None:
    timeline = Timeline()
    timeline.place(published(700.0, 1000.0, boot=1))
    assert timeline.place(published(3.0, unix_s, boot=2)) == place
    assert timeline.place(published(4.5, unix_s + 1.5, boot=2)) == place + 1.5


def test_chaos_is_read_as_it_is_written() -> None:
    chaos = chaos_from_text("drop=1.5%, jitter=20ms,blackout=5s@10s,blackout=500ms@0s,seed=7")
    assert chaos == Chaos(0.015, 0.02, ((10.0, 15.0), (0.0, 0.5)), 7)


@pytest.mark.parametrize(
    "text",
    ["", "drop", "drop=1", "drop=101%", "jitter=20", "jitter=-1s", "blackout=5s", "blackout=9999s@1s", "rain=1%"],
)
def test_chaos_that_is_not_understood_is_a_config_error(text: str) -> None:
    with pytest.raises(ConfigError, match="--chaos"):
        chaos_from_text(text)


def test_the_same_seed_does_the_same_damage() -> None:
    def damage(seed: int) -> list[bool]:
        weather = Weather(Chaos(drop=0.3, seed=seed))
        return [weather.loses(0.0) for _ in range(500)]

    assert damage(1) == damage(1)
    assert damage(1) != damage(2)
    assert 100 < sum(damage(1)) < 200


def test_a_blackout_loses_everything_and_nothing_else() -> None:
    weather = Weather(Chaos(blackouts=((1.0, 2.0),)))
    assert [weather.loses(at) for at in (0.0, 0.99, 1.0, 1.99, 2.0)] == [False, False, True, True, False]


@pytest.mark.parametrize(("text", "share"), [("1%", 0.01), ("0.02", 0.02), ("0", 0.0), ("100%", 1.0)])
def test_a_share(text: str, share: float) -> None:
    assert share_from_text(text, "--tolerance") == share


@pytest.mark.parametrize("text", ["", "x", "-1%", "101%", "2"])
def test_what_is_no_share(text: str) -> None:
    with pytest.raises(ConfigError, match="--tolerance must be a share"):
        share_from_text(text, "--tolerance")


def found() -> Instances:
    instances = make_scene(0).instances
    assert instances is not None
    return instances


def table(instances: Instances) -> ObjectTable:
    count = len(instances)
    return ObjectTable(
        ids=np.arange(1, count + 1, dtype=np.uint16),
        tracks=(None,) * count,
        class_ids=instances.class_ids,
        scores=instances.scores,
        boxes=instances.boxes,
        areas=instances.areas.astype(np.int64),
    )


def test_objects_that_stayed_are_neither_missing_nor_new() -> None:
    assert changed_objects(table(found()), found()) == (0, 0)


def test_an_object_of_another_class_or_place_is_missing_and_new() -> None:
    other_class = dataclasses.replace(found(), class_ids=np.array([14, 11], np.uint8))
    assert changed_objects(table(found()), other_class) == (1, 1)
    moved = dataclasses.replace(found(), boxes=found().boxes + np.array([0, 0, 0, 0], np.int32))
    moved.boxes[0] += np.array([8, 0, 8, 0], np.int32)
    assert changed_objects(table(found()), moved) == (1, 1)


def test_nothing_found_is_all_missing() -> None:
    none = Instances(
        np.empty(0, np.uint8),
        np.empty(0, np.float32),
        np.empty((0, 4), np.int32),
        np.empty(0, np.int32),
        ids=np.zeros((32, 64), np.uint16),
    )
    assert changed_objects(table(found()), none) == (2, 0)
    assert changed_objects(table(none), found()) == (0, 2)
