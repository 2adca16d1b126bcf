"""``roadcast bench`` as a user runs it: a run of everything, an overloaded open loop, Ctrl-C, and wrong requests."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from clips import clip, steady
from commands import environment
from tiny_model import write_model

from perception.cli.main import main

PATIENCE_S = 100.0  # of what should take seconds
ENDS_WITHIN_S = 20.0
NODES = ("node", "node without network")
BOUNDS = ("bare decoding", "bare engine", "serial loop")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bench")


@pytest.fixture(scope="module")
def film(folder: Path) -> Path:
    return clip(folder / "drive.mp4", steady(50))


def command(folder: Path, *words: object) -> tuple[list[str], dict[str, str]]:
    """The command line and the environment of a benchmark."""
    settings = {"ROADCAST_CACHE": str(folder / "cache"), "ROADCAST_FRAMES": "7"}  # the node's own must not count
    return [sys.executable, "-m", "perception", "bench", *map(str, words)], environment() | settings


def benched(folder: Path, *words: object) -> subprocess.CompletedProcess[str]:
    line, variables = command(folder, *words)
    return subprocess.run(line, capture_output=True, text=True, timeout=PATIENCE_S, check=False, env=variables)


def test_a_short_run_measures_everything_and_can_be_compared(folder: Path, film: Path) -> None:
    model, out = write_model(folder / "tiny.onnx", scale=2), folder / "result.json"
    words = ("--model", model, "--engine", "onnxruntime", "--size", "128x64", "--rounds", 1, "--out", out, "--json")
    ended = benched(folder, film, *words)
    assert ended.returncode == 0, ended.stderr
    found = json.loads(ended.stdout)
    assert found == json.loads(out.read_text())
    assert (found["schema"], found["version"], len(found["rounds"])) == ("roadcast-bench", 1, 1)
    settings = found["settings"]
    assert (settings["frames"], settings["rate"], settings["engine"]) == (40, None, "onnxruntime")
    assert (settings["network_size"], settings["model"]["id"], settings["mode"]) == ([128, 64], "tiny", "throughput")
    assert len(settings["model"]["sha256"]) == len(found["clip"]["sha256"]) == 64
    assert (found["clip"]["source"], found["clip"]["size"]) == ("drive.mp4", [160, 96])
    assert str(folder) not in ended.stdout
    figures = found["rounds"][0]
    assert all(figures[name]["fps"] > 0 and figures[name]["core_ms"] > 0 for name in (*BOUNDS, *NODES))
    for name in NODES:
        node = figures[name]
        assert node["frames"] == {"captured": 50, "published": 50, "received": 50}
        assert (node["lost_messages"], node["undelivered"], node["dropped"]) == (0, 0, {})
        latency = node["latency_ms"]
        assert 0 < latency["p50"] <= latency["p95"] <= latency["p99"] <= latency["max"]
        assert node["memory_mb"]["start"] <= node["memory_mb"]["peak"]
        assert 0 < node["ready_s"] < PATIENCE_S
        assert {"decode", "prepare", "infer", "wait_publish", "encode", "send"} <= set(node["stages_ms"])
    assert 0 < figures["node"]["engine"]["busy"] <= 1
    assert figures["ratios"]["node_to_bare_engine_fps"] == pytest.approx(
        figures["node"]["fps"] / figures["bare engine"]["fps"], rel=1e-4
    )
    assert figures["ratios"]["beyond_decoding_and_inference_core_ms"] is not None
    assert "round 1 of 1: serial loop" in ended.stderr


def test_frames_that_nobody_could_take_are_counted_by_reason(folder: Path, film: Path) -> None:
    """25 a second can be served and 100 are due."""
    ended = benched(
        folder, film, "--engine", "simulated://?infer_ms=40&slots=1", "--rate", 100, "--rounds", 1, "--json"
    )
    assert ended.returncode == 0, ended.stderr
    found = json.loads(ended.stdout)
    node = found["rounds"][0]["node"]
    assert (found["settings"]["rate"], found["settings"]["mode"]) == (100.0, "latency")
    assert "node without network" not in found["rounds"][0]
    assert node["frames"]["captured"] == 50
    assert node["dropped"] == {"stale": 50 - node["frames"]["published"]}
    assert node["dropped"]["stale"] > 0
    assert node["undelivered"] == pytest.approx(1 - node["frames"]["received"] / 50, abs=1e-5)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_leaves_no_file_and_no_process(folder: Path, film: Path, number: signal.Signals) -> None:
    out = folder / f"{number.name}.json"
    out.write_text("an older result")
    line, variables = command(
        folder, film, "--engine", "simulated://?infer_ms=300&slots=1", "--out", out, "--rounds", 3
    )
    # Every temporary file of the run lies in a folder of its own, so that what is left behind can be seen.
    scratch = folder / f"scratch-{number.name}"
    scratch.mkdir()
    with subprocess.Popen(
        line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=variables | {"TMPDIR": str(scratch)}
    ) as process:
        assert process.stderr is not None
        assert any("round 1 of 3: bare engine" in told for told in process.stderr)
        children = _children(process.pid)
        process.send_signal(number)
        started = time.monotonic()
        stdout, stderr = process.communicate(timeout=PATIENCE_S)
    assert time.monotonic() - started < ENDS_WITHIN_S
    assert process.returncode == 130
    assert "interrupted; what was measured is thrown away" in stderr
    assert "Traceback" not in stderr
    assert stdout == ""
    assert out.read_text() == "an older result"
    assert list(scratch.iterdir()) == []
    assert not [pid for pid in children if Path(f"/proc/{pid}").exists()]


def _children(pid: int) -> list[int]:
    """Process ids of the direct children, as Linux tells them."""
    listed = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(word) for word in listed.read_text().split()] if listed.exists() else []


def test_what_cannot_be_measured_is_one_sentence(
    folder: Path, film: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("perception.bench.machine.IDLE_PROBE_S", 0.01)
    (folder / "text.mp4").write_text("not a video")
    wrong = [
        (2, "There is no", ["none.mp4"]),
        (3, "Cannot read", [str(folder / "text.mp4")]),
        (2, "is too short: it holds 50 frames, 70 are needed", [str(film), "--frames", "60"]),
        (2, "--frames must be a whole number of at least 30; got '5'", [str(film), "--frames", "5"]),
        (2, "--rounds must be a whole number of at least 1; got 'many'", [str(film), "--rounds", "many"]),
        (2, "--rate must be a number from 0.1 to 10000", [str(film), "--rate", "0"]),
        (2, "--size must be WIDTHxHEIGHT", [str(film), "--size", "big"]),
        (2, "there is no folder", [str(film), "--out", str(folder / "none" / "a.json")]),
        (2, "it is no ordinary file", [str(film), "--out", "/dev/null"]),
        (2, "There is no engine 'warp'", [str(folder / "text.mp4"), "--engine", "warp"]),  # before the clip is read
        (2, "Cannot read the model 'none.onnx'", [str(folder / "text.mp4"), "--model", "none.onnx"]),
        (2, "Did you mean '--rounds'?", [str(film), "--round", "3"]),
    ]
    for code, told, words in wrong:
        assert main(["bench", *words]) == code, words
        said = capsys.readouterr()
        assert told in said.err, words
        assert said.err.count("roadcast: error: ") == 1
        assert said.out == ""
