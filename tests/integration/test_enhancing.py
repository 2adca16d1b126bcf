"""A node that enhances its frames: what it publishes as image, when its network runs, and what a view shows."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
from clips import clip, steady
from tiny_enhancement import write_enhancement
from tiny_model import write_model

from perception.client import ReceivedScene, Subscriber
from perception.config import NodeConfig
from perception.geometry import apply_affine
from perception.run import run
from perception.summary import Summary

PATIENCE_S = 60.0


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROADCAST_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def film(tmp_path: Path) -> Path:
    return clip(tmp_path / "drive.mp4", steady(6))  # 160x96, grey, brighter from frame to frame


def received(config: NodeConfig, kinds: list[str]) -> tuple[list[ReceivedScene], Summary]:
    """Run a node to its end, and everything that one subscriber got of these kinds."""
    with ThreadPoolExecutor(1) as pool:
        node = pool.submit(run, config, interrupt=threading.Event())
        with Subscriber(config.publish, kinds=kinds, timeout=PATIENCE_S) as subscriber:
            scenes = list(subscriber.scenes())
        summary = node.result(PATIENCE_S)
    assert summary is not None
    return scenes, summary


def config_of(tmp_path: Path, film: Path, **settings: object) -> NodeConfig:
    return NodeConfig(
        source=str(film),
        publish=f"ipc://{tmp_path}/node.ipc",
        pace="max",
        wait_subscribers=1,
        engine="onnxruntime",
        threads=1,
        model=str(write_model(tmp_path / "tiny.onnx", metadata={"roadcast.pixels": str(64 * 96)})),
        **settings,  # type: ignore[arg-type]
    )


@pytest.mark.parametrize("factor", [1, 2])
def test_the_image_is_what_the_network_saw_and_knows_its_place_in_the_frame(
    factor: int, tmp_path: Path, film: Path
) -> None:
    enhancement = write_enhancement(tmp_path / "e.onnx", factor=factor, multiple=32)
    scenes, summary = received(config_of(tmp_path, film, enhance=str(enhancement), size=(96, 64)), ["image", "labels"])
    plain, _ = received(config_of(tmp_path, film), ["image"])
    assert [scene.number for scene in scenes] == list(range(6))
    assert summary.exit_code == 0
    for scene, before in zip(scenes, plain):
        assert scene.image is not None
        assert before.image is not None
        assert scene.image.shape == (64 * factor, 96 * factor, 3)
        small = cv2.resize(255 - before.image, (96, 64), interpolation=cv2.INTER_AREA)
        expected = small.repeat(factor, 0).repeat(factor, 1)
        assert np.abs(scene.image.astype(int) - expected).mean() < 3  # JPEG, twice
        info = scene.messages["image"].header.frame
        assert info is not None
        assert info.source_size == (160, 96)
        assert apply_affine(info.to_source, -0.5, -0.5) == pytest.approx((-0.5, -0.5))
        assert apply_affine(info.to_source, 96 * factor - 0.5, 64 * factor - 0.5) == pytest.approx((159.5, 95.5))
        assert scene.labels is not None
        assert scene.labels.shape == (64 * factor, 96 * factor)
        assert info.model.id == "tiny+invert"


def test_the_network_runs_for_a_subscriber_of_the_image_alone(tmp_path: Path, film: Path) -> None:
    enhancement = write_enhancement(tmp_path / "e.onnx")
    scenes, _ = received(config_of(tmp_path, film, enhance=str(enhancement)), ["image"])
    plain, _ = received(config_of(tmp_path, film), ["image"])
    for scene, before in zip(scenes, plain):
        assert scene.image is not None
        assert before.image is not None
        assert scene.image.mean() == pytest.approx(255 - before.image.mean(), abs=3)
        assert "infer" in scene.messages["image"].header.frame.latency_us
        assert "infer" not in before.messages["image"].header.frame.latency_us


def test_nobody_wants_the_image_and_none_is_encoded(
    tmp_path: Path, film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    encode = cv2.imencode
    monkeypatch.setattr(cv2, "imencode", lambda *args: calls.append(args[0]) or encode(*args))
    enhancement = write_enhancement(tmp_path / "e.onnx")
    scenes, _ = received(config_of(tmp_path, film, enhance=str(enhancement)), ["labels"])
    assert len(scenes) == 6
    assert not calls
    received(config_of(tmp_path, film, enhance=str(enhancement)), ["image"])
    assert calls


def command(*arguments: object, package: str = "perception") -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", package, *map(str, arguments)]
    return subprocess.run(line, capture_output=True, text=True, timeout=PATIENCE_S, check=False, env=dict(os.environ))


def test_a_view_shows_the_enhanced_picture(tmp_path: Path, film: Path) -> None:
    model = write_model(tmp_path / "tiny.onnx")
    enhancement = write_enhancement(tmp_path / "e.onnx")
    sheets = []
    for number, extra in enumerate([(), ("--enhance", enhancement)]):
        sheet = tmp_path / f"{number}.png"
        done = command("view", film, "--sheet", sheet, "--layers", "stats", "--model", model, *extra)
        assert done.returncode == 0, done.stderr
        sheets.append(cv2.imread(str(sheet)))
    dark, bright = (float(sheet.mean()) for sheet in sheets)
    assert bright > dark + 30  # the film is dark, and here inverted


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("sharpen", "There is no enhancement 'sharpen'"),
        ("missing.onnx", "there is no such file"),
    ],
)
def test_an_enhancement_that_does_not_exist_ends_with_one_sentence(given: str, says: str, film: Path) -> None:
    done = command("run", film, "--enhance", given)
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    checked = command("config", "check", "--source", film, "--enhance", given)
    assert says in checked.stdout + checked.stderr


def test_a_report_in_json_names_the_joined_model(tmp_path: Path, film: Path) -> None:
    enhancement = write_enhancement(tmp_path / "e.onnx")
    model = write_model(tmp_path / "tiny.onnx")
    arguments = ("--pace", "max", "--publish", f"ipc://{tmp_path}/n.ipc", "--model", model, "--enhance", enhancement)
    done = command("run", film, *arguments, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["model"]["id"] == "tiny+invert"
