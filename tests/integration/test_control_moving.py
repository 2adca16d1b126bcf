"""Streams of a running node that pause and go elsewhere."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from clips import clip, steady
from controlled import check_change, running

from perception.cli.main import main
from perception.config import CameraConfig
from perception.errors import RequestError

pytestmark = pytest.mark.usefixtures("shelf")


def test_a_paused_node_says_so_and_goes_on_where_it_was(tmp_path: Path) -> None:
    with running(tmp_path) as node:
        assert node.ask("pause") == {"streams": {"front": {"paused": True}}}
        node.wait_for(lambda: node.of("status")[-1].body.get("paused"), "status says so")
        node.wait_for(lambda: node.ask("status")["streams"]["front"]["ledger"]["in_flight"] == 0, "nothing under way")
        before = node.ask("status")["streams"]["front"]
        time.sleep(0.3)
        after = node.ask("status")["streams"]["front"]
        assert after["ledger"] == before["ledger"]
        assert (after["paused"], after["state"]) == (True, "running")
        late = node.ask("reload", model="/second.onnx")
        assert (late["effective"], late["streams"]) == (False, {})
        count = len(node.of("labels"))
        node.ask("resume")
        node.wait_for_frames(3)
    check_change(node)
    assert [m.frame for m in node.of("labels")][count - 1 : count + 1] == [count - 1, count]
    assert "paused" not in node.of("status")[-1].body


def test_seeking_goes_on_exactly_there(tmp_path: Path) -> None:
    film = str(clip(tmp_path / "drive.mp4", steady(200)))
    with running(tmp_path, source=film) as node:
        node.ask("pause")
        node.wait_for(lambda: node.ask("status")["streams"]["front"]["ledger"]["in_flight"] == 0, "nothing under way")
        count = node.ask("status")["streams"]["front"]["ledger"]["published"]
        assert node.ask("seek", frame=150) == {"streams": {"front": {"goes_to": "frame 150"}}}
        with pytest.raises(RequestError, match="behind its end"):
            node.ask("seek", seconds=8.0)
        node.ask("resume")
        node.wait_for(lambda: len(node.of("labels")) >= count + 2, "frames behind the jump")
    numbers = [message.frame for message in node.of("labels")]
    assert numbers == list(range(len(numbers)))
    assert node.of("labels")[count].header.time.media_ns == 150 * 40_000_000


def test_several_recordings_go_there_together_or_not_at_all(tmp_path: Path) -> None:
    long, short = (str(clip(tmp_path / f"{count}.mp4", steady(count))) for count in (400, 200))
    cameras = (CameraConfig(source=long, stream="long"), CameraConfig(source=short, stream="short"))
    with running(tmp_path, source="", camera=cameras) as node:
        node.ask("pause")
        for name in ("long", "short"):
            node.wait_for(lambda n=name: node.ask("status")["streams"][n]["ledger"]["in_flight"] == 0, "all is still")
        counts = {name: node.ask("status")["streams"][name]["ledger"]["published"] for name in ("long", "short")}
        with pytest.raises(RequestError, match="behind its end"):
            node.ask("seek", frame=300)
        node.ask("resume")
        for name, count in counts.items():
            node.wait_for(lambda n=name, c=count: len(node.of("labels", n)) >= c + 2, "frames after the refusal")
        assert node.ask("seek", frame=300, stream="long") == {"streams": {"long": {"goes_to": "frame 300"}}}
        assert set(node.ask("seek", seconds=1.0)["streams"]) == {"long", "short"}
    for name, count in counts.items():  # the refused place moved nobody
        times = [message.header.time.media_ns for message in node.of("labels", name)[: count + 2]]
        assert times == [number * 40_000_000 for number in range(count + 2)]


def test_a_recording_beside_a_camera_is_moved_by_its_name(tmp_path: Path) -> None:
    film = str(clip(tmp_path / "drive.mp4", steady(200)))
    cameras = (
        CameraConfig(source=film, stream="film"),
        CameraConfig(source="rtsp://127.0.0.1:9/live", stream="camera"),  # nobody is there
    )
    with running(tmp_path, source="", camera=cameras, policy="drop_oldest") as node:
        with pytest.raises(RequestError, match=r"camera cannot seek, so no stream was moved"):
            node.ask("seek", frame=150)
        node.wait_for_frames(2, "film")
        assert node.of("labels", "film")[-1].header.time.media_ns < 150 * 40_000_000
        assert node.ask("seek", frame=150, stream="film") == {"streams": {"film": {"goes_to": "frame 150"}}}
        with pytest.raises(RequestError, match="nothing to seek in"):
            node.ask("seek", frame=150, stream="camera")


def test_a_node_under_a_rate_neither_pauses_nor_seeks(tmp_path: Path) -> None:
    with running(tmp_path, rate=20.0) as node:
        for command, args in (("pause", {}), ("seek", {"frame": 1})):
            with pytest.raises(RequestError, match="--rate"):
                node.ask(command, **args)


def test_a_stream_that_has_ended_neither_pauses_nor_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    film = str(clip(tmp_path / "drive.mp4", steady(5)))
    cameras = (CameraConfig(source=film, stream="short"), CameraConfig(source="synth://street", stream="long"))
    with running(tmp_path, source="", camera=cameras) as node:
        node.wait_for(lambda: node.ask("status")["streams"]["short"]["state"] == "ended", "the shorter one ended")
        with pytest.raises(RequestError, match="short has ended: there is nothing to resume"):
            node.ask("resume", stream="short")
        assert main(["ctl", "pause", "--control", node.control]) == 0
        assert capsys.readouterr().out == "short has ended.\nlong is paused.\n"
        assert node.ask("resume") == {"streams": {"short": {"ended": True}, "long": {"paused": False}}}
