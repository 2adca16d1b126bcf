"""Recordings that ``roadcast record SOURCE`` makes with a model: verified, cut short by a full disk, a source again."""

from __future__ import annotations

import json
import resource
from pathlib import Path

import numpy as np
import pytest
from clips import clip, steady
from commands import finished
from tiny_model import write_model

from perception.ledger import Ledger
from perception.recording.reader import Recording
from perception.sources import open_source


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return clip(tmp_path_factory.mktemp("film") / "drive.mp4", steady(120))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model") / "tiny.onnx")


@pytest.fixture(scope="module")
def golden(tmp_path_factory: pytest.TempPathFactory, film: Path, model: Path) -> Path:
    """A recording of a film, and one of that recording: its labels were made of the very pictures in it."""
    folder = tmp_path_factory.mktemp("golden")
    node = ("--pace", "max", "--model", model, "--engine", "onnxruntime", "--json")
    first = finished("record", film, "-o", folder / "first.mcap", "--frames", 20, *node)
    assert (first.returncode, json.loads(first.stdout)["frames"]) == (0, 20), first.stderr
    second = finished("record", folder / "first.mcap", "-o", folder / "golden.mcap", *node)
    assert (second.returncode, json.loads(second.stdout)["frames"]) == (0, 20), second.stderr
    return folder / "golden.mcap"


def test_a_model_that_is_the_same_changes_nothing(golden: Path, model: Path) -> None:
    arguments = ("replay", golden, "--verify", model, "--engine", "onnxruntime", "--tolerance", "0", "--json")
    done = finished(*arguments, "--object-tolerance", "0")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["frames"], report["changed"], report["missing"], report["new"]) == (20, 0, 0, 0)


def test_other_answers_are_a_finding(golden: Path, tmp_path: Path) -> None:
    with Recording(golden) as recorded:
        labels = next(m for m in recorded.messages() if m.kind == "labels").array("labels")
    answers = tmp_path / "answers.npz"
    np.savez(answers, labels=np.full((1, *labels.shape), 7, np.uint8))
    done = finished("replay", golden, "--verify", answers, "--engine", "recorded", "--json")
    assert done.returncode == 1, done.stderr
    report = json.loads(done.stdout)
    assert report["classes"]["7"]["joined"] == report["changed"] > 0


def test_a_full_disk_is_said_and_what_was_written_opens(film: Path, model: Path, tmp_path: Path) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))

    path = tmp_path / "full.mcap"
    done = finished("record", film, "-o", path, "--rate", 60, "--model", model, "--json", preexec=limit)
    assert done.returncode == 3
    assert "Cannot go on writing" in done.stderr
    assert "Traceback" not in done.stderr
    with Recording(path) as recorded:
        assert recorded.closed
        assert any(m.kind == "labels" for m in recorded.messages())


def test_a_recording_is_a_source_of_its_pictures(golden: Path) -> None:
    source = open_source(str(golden), stream="cam")
    frames = list(source.frames(Ledger()))
    assert source.promised == len(frames) == 20
    assert {frame.stream for frame in frames} == {"cam"}
    assert [frame.time.clock for frame in frames] == ["virtual"] * 20
    assert all(frame.jpeg is not None for frame in frames)
