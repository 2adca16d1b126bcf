"""``roadcast run`` as a user runs it: a process of its own, its exit codes and its output."""

from __future__ import annotations

import json
import socket
import subprocess
from pathlib import Path

import numpy as np
import pytest
from clips import clip, steady
from commands import PATIENCE_S, command, environment, finished, running
from tiny_model import write_model

from perception.client import Subscriber


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("run")


@pytest.fixture(scope="module")
def film(folder: Path) -> Path:
    return clip(folder / "drive.mp4", steady(200))


@pytest.fixture(scope="module")
def model(folder: Path) -> Path:
    return write_model(folder / "tiny.onnx")


def one_sentence(result: subprocess.CompletedProcess[str]) -> str:
    """The error line of a failed run, which has no traceback and nothing on stdout."""
    assert result.stdout == ""
    lines = [line for line in result.stderr.splitlines() if line.startswith("roadcast: error: ")]
    assert len(lines) == 1, result.stderr
    assert "Traceback" not in result.stderr
    return lines[0]


def test_two_hundred_frames_published_are_two_hundred_received(film: Path, model: Path, endpoint: str) -> None:
    args = (film, "--pace", "max", "--policy", "wait", "--wait-subscribers", 1, "--publish", endpoint, "--json")
    with running(*args, "--model", model, "--engine", "onnxruntime", says="Publishing at") as process:
        with Subscriber(endpoint, kinds=["labels", "objects", "confidence"], timeout=PATIENCE_S) as subscriber:
            numbers = [scene.number for scene in subscriber.scenes()]
        out, err = process.communicate(timeout=PATIENCE_S)
    assert numbers == list(range(200))
    assert subscriber.tally.lost == 0
    assert process.returncode == 0
    summary = json.loads(out)
    assert out.count("\n") == 1  # one object, and nothing else on stdout
    assert summary["frames"] == {"captured": 200, "published": 200, "in_flight": 0, "dropped": {}}
    assert summary["promised"] == summary["computed"] == 200
    assert summary["engine"] == "onnxruntime"
    assert summary["engine_reason"].startswith("ONNX Runtime")
    assert "200 of 200 promised frames read" in err


def test_without_json_stdout_stays_empty(film: Path, endpoint: str) -> None:
    result = finished("run", film, "--pace", "max", "--engine", "simulated://", "--publish", endpoint)
    assert (result.returncode, result.stdout) == (0, "")
    assert "captured 200, published 200, dropped 0" in result.stderr


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_a_full_disk_under_its_log_stops_no_node(film: Path, endpoint: str, log_format: str) -> None:
    args = (film, "--pace", "max", "--engine", "simulated://", "--publish", endpoint, "--json")
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            command("run", *args, "--log-format", log_format),
            stdout=subprocess.PIPE,
            stderr=full,
            timeout=PATIENCE_S,
            check=False,
            env=environment(),
        )
    assert done.returncode == 0
    assert json.loads(done.stdout)["frames"]["published"] == 200


def test_a_configuration_file_says_what_to_run(film: Path, endpoint: str, tmp_path: Path) -> None:
    file = tmp_path / "node.toml"
    file.write_text(f'source = "{film}"\npublish = "{endpoint}"\nengine = "simulated://"\npace = "max"\nframes = 9\n')
    result = finished("run", "--config", file, "--frames", 5, "--json")
    assert result.returncode == 0
    assert json.loads(result.stdout)["frames"]["published"] == 5


def test_what_cannot_be_done_is_one_sentence_and_exit_2(film: Path, model: Path, tmp_path: Path) -> None:
    (tmp_path / "text.onnx").write_text("not a model")
    logits = write_model(tmp_path / "logits.onnx", labels_name="logits")
    wrong = {
        "There is no": ["nowhere.mp4"],
        "no engine 'warp'": [film, "--engine", "warp"],
        "--frames must be a whole number": [film, "--frames", "0"],
        "--size must be WIDTHxHEIGHT": [film, "--size", "big"],
        "give --size 640x352": [film, "--size", "640x360", "--model", model, "--engine", "onnxruntime"],
        "none.onnx": [film, "--model", tmp_path / "none.onnx", "--engine", "onnxruntime"],
        "text.onnx": [film, "--model", tmp_path / "text.onnx", "--engine", "onnxruntime"],
        "no output 'labels'": [film, "--model", logits, "--engine", "onnxruntime"],
        "unrecognized arguments: --fast": [film, "--fast"],
        "No source was given": [],
        "--insecure": [film, "--engine", "simulated://", "--publish", "tcp://0.0.0.0:5699"],
        # An endpoint is refused before the source is opened: here, one that does not exist.
        "(port 1..65535)": ["nowhere.mp4", "--publish", "tcp://127.0.0.1:99999"],
        "no folder '/nowhere/at'": ["nowhere.mp4", "--publish", "ipc:///nowhere/at/all"],
    }
    for message, args in wrong.items():
        result = finished("run", *args)
        assert message in one_sentence(result)
        assert result.returncode == 2, message


def test_files_that_are_no_videos_are_one_sentence_and_exit_3(tmp_path: Path, film: Path, endpoint: str) -> None:
    text, empty, cut = tmp_path / "text.mp4", tmp_path / "empty.mp4", tmp_path / "cut.mp4"
    text.write_text("This is not a video.\n" * 100)
    empty.touch()
    cut.write_bytes(film.read_bytes()[:3000])
    for path in (text, empty, cut):
        result = finished("run", path, "--engine", "simulated://", "--publish", endpoint)
        assert path.name in one_sentence(result)
        assert result.returncode == 3, path.name


def test_a_port_in_use_is_one_sentence_and_exit_3(film: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        result = finished("run", film, "--engine", "simulated://", "--publish", f"tcp://127.0.0.1:{port}")
    assert "in use" in one_sentence(result)
    assert result.returncode == 3


def test_a_bad_image_among_good_ones_is_counted_and_exit_3(tmp_path: Path, endpoint: str) -> None:
    import cv2

    images = tmp_path / "images"
    images.mkdir()
    for number in range(5):
        cv2.imwrite(str(images / f"{number}.png"), np.full((48, 80, 3), 40 * number, np.uint8))
    (images / "2.png").write_bytes(b"no picture")
    result = finished("run", images, "--pace", "max", "--engine", "simulated://", "--publish", endpoint, "--json")
    assert result.returncode == 3
    summary = json.loads(result.stdout)
    assert summary["frames"] == {"captured": 5, "published": 4, "in_flight": 0, "dropped": {"decode_error": 1}}
    assert summary["error"] in result.stderr
    assert "Traceback" not in result.stderr


def test_a_reader_that_goes_away_is_no_traceback(film: Path, endpoint: str) -> None:
    process = subprocess.Popen(
        command("run", film, "--pace", "max", "--engine", "simulated://", "--publish", endpoint, "--json"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    err = process.stderr.read()
    process.stderr.close()
    assert process.wait(PATIENCE_S) == 141
    assert "Traceback" not in err
    assert "BrokenPipe" not in err


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_closed_streams_are_no_error(closed: str, film: Path, endpoint: str) -> None:
    arguments = command("run", film, "--engine", "simulated://", "--frames", 3, "--publish", endpoint, "--json")
    done = subprocess.run(
        ["sh", "-c", f'"$@" {closed}', "sh", *arguments],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
        env=environment(),
    )
    assert done.returncode == 0
    assert "Traceback" not in done.stderr
    if ">&-" in closed.split():
        assert done.stdout == ""
    else:
        assert json.loads(done.stdout)["reason"] == "frame_limit"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("arguments", ["run", "sub"])
def test_a_full_disk_is_one_sentence(arguments: str, unbuffered: str, film: Path, endpoint: str) -> None:
    words = {
        "run": command("run", film, "--engine", "simulated://", "--frames", 3, "--publish", endpoint, "--json"),
        "sub": command("sub", endpoint, "--timeout", "0.2", "--json"),
    }[arguments]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            words,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=PATIENCE_S,
            check=False,
            env={**environment(), "PYTHONUNBUFFERED": unbuffered},
        )
    assert done.returncode == 3
    assert done.stderr.endswith("roadcast: error: Cannot write the output: no space left on device.\n")
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
