"""What a node decides where it was told nothing, and the combinations it refuses."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from perception.choices import (
    check_mixture,
    choose_batch,
    choose_mode,
    choose_network_size,
    choose_policy,
    choose_shedding,
)
from perception.classes import CITYSCAPES
from perception.config import CameraConfig, NodeConfig, Policy
from perception.engines.engine import ModelSpec
from perception.engines.simulated import SimulatedEngine
from perception.errors import ConfigError
from perception.types import Size


def spec(fixed_size: Size | None = None) -> ModelSpec:
    return ModelSpec("net", "", "fp32", CITYSCAPES, ("labels",), fixed_size=fixed_size, pixels=512 * 288)


def config(**settings: object) -> NodeConfig:
    return NodeConfig(source="drive.mp4", **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("pace", "live", "policy", "mode"),
    [
        ("max", False, "wait", "throughput"),
        ("real", False, "drop_oldest", "latency"),
        ("max", True, "drop_oldest", "latency"),
        ("real", True, "drop_oldest", "latency"),
    ],
)
def test_only_files_at_full_pace_wait(pace: str, live: bool, policy: str, mode: str) -> None:
    assert choose_policy(config(pace=pace), live=live) == policy
    assert choose_mode(config(pace=pace), live=live) == mode


@pytest.mark.parametrize(
    ("rate", "policy", "live", "sheds"),
    [
        (None, "drop_oldest", False, False),
        (30.0, "drop_oldest", False, True),
        (30.0, "wait", False, False),
        (None, "drop_oldest", True, True),
    ],
)
def test_frames_that_do_not_wait_for_anybody_go_stale(rate: float, policy: Policy, live: bool, sheds: bool) -> None:
    assert choose_shedding(config(rate=rate), policy, live=live) is sheds


def test_a_rate_is_for_files_that_are_paced() -> None:
    with pytest.raises(ConfigError, match="a camera comes at its own rate"):
        choose_shedding(config(rate=30.0), "drop_oldest", live=True)
    with pytest.raises(ConfigError, match=r"--rate paces a file, --pace max"):
        config(rate=30.0, pace="max")
    for wrong in (0, float("nan"), True, "fast"):
        with pytest.raises(ConfigError, match=r"must be a number from 0\.1 to 10000"):
            config(rate=wrong)


def test_what_was_asked_for_is_kept() -> None:
    assert choose_policy(config(policy="wait"), live=False) == "wait"
    assert choose_policy(config(pace="max", policy="drop_oldest"), live=False) == "drop_oldest"
    assert choose_mode(config(mode="throughput"), live=True) == "throughput"


def test_a_camera_cannot_wait() -> None:
    with pytest.raises(ConfigError, match="a camera does not wait"):
        choose_policy(config(policy="wait"), live=True)


def test_the_network_size_follows_the_model_the_budget_or_the_request() -> None:
    assert choose_network_size(config(), spec())((1280, 720)) == spec().network_size((1280, 720))
    width, height = choose_network_size(config(size=64 * 1024), spec())((1280, 720))
    assert width * height == pytest.approx(64 * 1024, rel=0.16)
    assert choose_network_size(config(size=(640, 352)), spec())((1280, 720)) == (640, 352)
    assert choose_network_size(config(size=(500, 300)), spec((500, 300)))((1280, 720)) == (500, 300)


@pytest.mark.parametrize(
    ("size", "fixed", "message"),
    [
        ((640, 360), None, "multiples of 32, not 640x360: give --size 640x352."),
        ((640, 352), (512, 288), "takes frames of 512x288 only: leave --size out."),
        (147456, (512, 288), "takes frames of 512x288 only: leave --size out."),
    ],
)
def test_a_size_the_model_does_not_take_is_refused(size: object, fixed: Size | None, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        choose_network_size(config(size=size), spec(fixed))


def four(**settings: object) -> NodeConfig:
    cameras = tuple(CameraConfig(source="drive.mp4", stream=name) for name in "abcd")
    return NodeConfig(camera=cameras, **settings)  # type: ignore[arg-type]


def test_several_cameras_ask_for_throughput() -> None:
    assert choose_mode(four(), live=True) == "throughput"
    assert choose_mode(four(mode="latency"), live=True) == "latency"


def test_a_set_is_one_batch_on_a_gpu_and_single_frames_on_a_cpu() -> None:
    engine = SimulatedEngine()
    assert choose_batch(four(), engine) == 1
    assert choose_batch(four(batch=3), engine) == 3
    engine.name = "tensorrt"
    assert choose_batch(four(), engine) == 4
    engine.spec = replace(engine.spec, batch=2)
    assert choose_batch(four(batch=3), engine) == 2, "the model takes no other"


def test_recordings_at_full_pace_stay_among_themselves() -> None:
    check_mixture(four(pace="max"), [False, False])
    check_mixture(four(pace="max"), [True, True])
    check_mixture(four(), [True, False])
    with pytest.raises(ConfigError, match="beside a camera they play in real time"):
        check_mixture(four(pace="max"), [True, False])
