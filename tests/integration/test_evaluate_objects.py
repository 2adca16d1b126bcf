"""``roadcast-train evaluate --task ...`` with a model whose every answer is known."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_data import write_png
from tiny_model import CAR, SKY, VEGETATION, write_model

from perception.classes import CITYSCAPES, ClassTable, SemanticClass
from perception.engines.recorded import RecordedEngine
from perception.errors import ModelError
from training.cli import main
from training.evaluate_objects import engine_finder

SIZE = (128, 64)
LABEL_IDS = {SKY: 23, VEGETATION: 21, CAR: 26}
COLOURS = {SKY: (220, 20, 20), VEGETATION: (20, 220, 20), CAR: (20, 20, 220)}


def write_street(root: Path, *, apart: bool) -> str:
    """Two frames of sky over vegetation with two cars, apart or touching; in the second frame one is not painted."""
    for number in range(2):
        truth = np.full(SIZE[::-1], SKY, np.uint8)
        truth[32:] = VEGETATION
        instances = np.zeros(truth.shape, np.uint16)
        for k, left in enumerate((16, 64 if apart else 48)):
            truth[40:56, left : left + 32] = CAR
            instances[40:56, left : left + 32] = 26000 + k
        painted = truth.copy()
        if number:
            painted[:, :48] = SKY
        image = np.zeros((*truth.shape, 3), np.uint8)
        ids = np.zeros(truth.shape, np.uint8)
        for label, colour in COLOURS.items():
            image[painted == label] = colour
            ids[truth == label] = LABEL_IDS[label]
        stem = f"town_000000_{number:06d}"
        base = root / "gtFine" / "val" / "town"
        write_png(root / "leftImg8bit" / "val" / "town" / f"{stem}_leftImg8bit.png", image)
        write_png(base / f"{stem}_gtFine_labelIds.png", ids)
        write_png(base / f"{stem}_gtFine_instanceIds.png", np.where(instances > 0, instances, ids))
    return f"cityscapes:{root}:val"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_model(tmp_path / "tiny.onnx")


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> Any:
    capsys.readouterr()
    assert main(["evaluate", *map(str, arguments), "--json"]) == 0
    (result,) = json.loads(capsys.readouterr().out).values()
    return result


def test_cars_that_are_apart_are_found_and_one_that_is_not_painted_is_missed(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_street(tmp_path, apart=True)
    result = run(capsys, model, "--task", "instances", "--data", data, "--size", "128x64")
    # Three of four cars, all of them right: the curve's area is 3/4 at precision 1, at every threshold.
    assert result["classes"] == {"car": {"objects": 4, "ap": 0.75, "ap50": 0.75, "ap_large": None}}
    assert (result["images"], result["ap"], result["touching"]["pairs"]) == (2, 0.75, 0)
    few = run(capsys, model, "--task", "instances", "--data", data, "--size", "128x64", "--min-area", "600")
    assert few["objects"] == 0
    panoptic = run(capsys, model, "--task", "panoptic", "--data", data, "--size", "128x64")
    assert panoptic["classes"]["car"]["rq"] == pytest.approx(3 / 3.5, abs=1e-4)
    assert panoptic["classes"]["car"]["sq"] == 1
    assert panoptic["things"]["pq"] == panoptic["classes"]["car"]["pq"]


def test_cars_that_touch_are_one_object_to_connected_components(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_street(tmp_path, apart=False)
    touching = run(capsys, model, "--task", "instances", "--data", data, "--size", "128x64")["touching"]
    assert (touching["pairs"], touching["separated"]) == (2, 0.0)
    assert touching["together"] >= 0.5


def test_what_is_printed_names_classes_and_pairs(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_street(tmp_path, apart=False)
    for task, wanted in {
        "instances": ("AP50", "car", "touching pairs: 0.0000 of 2"),
        "panoptic": ("PQ", "sky"),
    }.items():
        assert main(["evaluate", str(model), "--task", task, "--data", data, "--size", "128x64"]) == 0
        text = capsys.readouterr().out
        assert all(word in text for word in wanted)


def test_rendered_drives_are_tracked(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("motmetrics", reason="scores of tracks need the extra [tracking]")
    result = run(capsys, model, "--task", "tracking", "--data", "synth:3,2", "--min-area", "50")
    assert result["frames"] == 2
    assert result["tracks"] > 0
    assert result["idf1"] is not None
    sure = run(capsys, model, "--task", "tracking", "--data", "synth:3,2", "--min-area", "50", "--min-score", "1")
    assert sure["tracks"] == result["tracks"]
    assert sure["found_tracks"] == 0


def test_rendered_frames_are_scored_by_distance(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = run(capsys, model, "--task", "instances", "--data", "synth:3,1")
    assert {"ap_100m", "ap_50m"} <= result.keys()


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--task", "instances", "--boundary"], "--boundary"),
        (["--task", "panoptic", "--min-area", "9"], "--min-area"),
        (["--min-area", "9"], "--task instances"),
        (["--task", "instances", "--size", "100x64"], "multiples of 32"),
        (["--task", "instances", "--min-area", "0"], "whole number"),
        (["--task", "tracking"], "synth:SEED,N"),
        (["--task", "instances", "--min-score", "0.5"], "--task tracking"),
        (["--task", "tracking", "--min-score", "2"], "from 0 to 1"),
    ],
)
def test_flags_that_do_not_go_together_are_one_sentence(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], word: str
) -> None:
    data = write_street(tmp_path, apart=True)
    assert main(["evaluate", str(model), "--data", data, *arguments]) == 2
    error = capsys.readouterr().err
    assert word in error
    assert "Traceback" not in error


def test_data_that_does_not_tell_objects_apart_is_refused(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_street(tmp_path, apart=True)
    (tmp_path / "gtFine/val/town/town_000000_000001_gtFine_instanceIds.png").unlink()
    assert main(["evaluate", str(model), "--data", data, "--task", "instances"]) == 2
    assert "1 of 2 images have no instance map" in capsys.readouterr().err
    keras = tmp_path / "model.keras"
    assert main(["evaluate", str(keras), "--data", data, "--task", "instances"]) == 2
    assert "roadcast-train export" in capsys.readouterr().err


def test_classes_that_no_truth_has_are_refused() -> None:
    tractor = ClassTable((*CITYSCAPES.rows, SemanticClass(19, "tractor", (1, 2, 3), True)))
    engine = RecordedEngine({"labels": np.full((1, 8, 8), 19, np.uint8)}, classes=tractor)
    with closing(engine), pytest.raises(ModelError, match=r"'tractor' \(19\); only models of 19 classes"):
        engine_finder(engine)
