"""``roadcast-train`` as users call it: one small run from data to a checked ONNX file, and bad input."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_data import write_camvid, write_png

from perception.engines.contract import read_spec
from training.cli import main
from training.models import light_unet as network

keras = pytest.importorskip("keras", reason="training needs Keras and a backend")
pytest.importorskip("onnx", reason="export needs ONNX")

# Keras writes its files with an older idiom of numpy's.
pytestmark = [
    pytest.mark.usefixtures("shallow"),
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"),
]

SMALL_RUN = ["--epochs", "1", "--steps", "1", "--batch", "1", "--crop", "64x64", "--workers", "1", "--width", "small"]


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data, and with the model of one short run."""
    folder = tmp_path_factory.mktemp("work")
    data = write_camvid(folder / "camvid")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(network.WIDTHS, "small", network.LightUNetWidths(8, (8, 8, 8, 8)))
        (folder / "other").symlink_to(data)
        flags = ["--out", str(folder / "run"), "--data", f"camvid:{data}:train=2", *SMALL_RUN]
        for held_out in (f"{data}:val", f"{data}:proxy", f"{folder / 'other'}:proxy"):
            flags += ["--score", f"camvid:{held_out}"]
        assert main(["fit", *flags]) == 0
    return folder


@pytest.fixture(scope="module")
def exported(work: Path) -> Path:
    out = work / "out.onnx"
    arguments = [str(work / "run" / "model.keras"), "-o", str(out), "--id", "tiny", "--pixels", str(96 * 64)]
    facts = ["--fact", "licence=research only", "--score", f"camvid:{work / 'camvid'}:val"]
    assert main(["export", *arguments, *facts]) == 0
    return out


@pytest.mark.timeout(300)
def test_a_run_leaves_a_model_its_configuration_and_a_line_of_metrics(work: Path) -> None:
    (line,) = (work / "run" / "metrics.jsonl").read_text().splitlines()
    scores = {f"{name} mIoU" for name in ("camvid:val", "camvid:camvid:proxy", "camvid:other:proxy")}
    assert {"epoch", "loss", *scores} <= set(json.loads(line))
    config = json.loads((work / "run" / "config.json").read_text())
    assert config["crop"] == [64, 64]
    assert config["data"][0]["images"] == 3


@pytest.mark.timeout(300)
def test_the_card_says_what_was_exported_and_measured_and_names_no_folder(work: Path, exported: Path) -> None:
    text = exported.with_suffix(".json").read_text()
    card = json.loads(text)
    assert card["sha256"] == hashlib.sha256(exported.read_bytes()).hexdigest()
    assert card["licence"] == "research only"
    assert card["scores"]["camvid:val"]["images"] == 1
    assert card["export"].startswith("roadcast-train export model.keras -o out.onnx --id tiny")
    assert str(work) not in text
    assert read_spec(exported).card["roadcast.card"].count("camvid:val")


@pytest.mark.timeout(300)
def test_the_exported_file_scores_as_its_card_says(
    work: Path, exported: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = f"camvid:{work / 'camvid'}:val"
    capsys.readouterr()
    assert main(["evaluate", str(exported), "--data", data, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)[data]
    assert result == json.loads(exported.with_suffix(".json").read_text())["scores"]["camvid:val"]
    assert main(["evaluate", str(work / "run" / "model.keras"), "--data", data, "--pixels", "6144"]) == 0
    assert "mean IoU" in capsys.readouterr().out


@pytest.mark.timeout(300)
def test_parity_reports_and_judges(work: Path, exported: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["parity", str(work / "run" / "model.keras"), str(exported), "--data", f"camvid:{work / 'camvid'}"]
    capsys.readouterr()
    assert main([*arguments, "--least", "0.9"]) == 0
    assert "3 frames: labels agree on" in capsys.readouterr().out
    assert main([*arguments, "--least", "1.1"]) == 1


def wrong_size(folder: Path) -> None:
    write_png(folder / "camvid" / "trainannot" / "0016E5_00001.png", np.zeros((10, 10), np.uint8))


def unknown_id(folder: Path) -> None:
    write_png(folder / "camvid" / "trainannot" / "0016E5_00001.png", np.full((64, 96), 77, np.uint8))


def no_labels(folder: Path) -> None:
    (folder / "camvid" / "trainannot" / "0016E5_00001.png").unlink()


def no_images(folder: Path) -> None:
    for path in (folder / "camvid" / "train").iterdir():
        path.unlink()


def text_files(folder: Path) -> None:
    for name in ("text.keras", "text.onnx", "text.pth"):
        (folder / name).write_text("just text\n")


FIT = ["fit", "--out", "{folder}/run", "--data", "camvid:{folder}/camvid", *SMALL_RUN]
EVALUATE = ["--data", "camvid:{folder}/camvid"]
EXPORT = ["-o", "{folder}/m.onnx", "--id", "x", "--pixels", "6144"]
WRAP = ["wrap", "m.onnx", "-o", "{folder}/m.onnx"]
BAD: dict[str, tuple[Callable[[Path], None] | None, list[str], int, str]] = {
    "labels of another size": (wrong_size, FIT, 3, "must agree"),
    "an unknown id": (unknown_id, FIT, 3, "the value 77"),
    "an image without labels": (no_labels, FIT, 2, "have no labels"),
    "an empty folder": (no_images, FIT, 2, "holds no images"),
    "no data": (None, ["fit", "--out", "{folder}/run"], 2, "--data"),
    "no folder for the run": (None, ["fit", *EVALUATE], 2, "--out"),
    "a kind that does not exist": (None, ["fit", "--out", "{folder}/run", "--data", "coco:{folder}"], 2, "kinds are"),
    "a rate that is no number": (None, [*FIT, "--rate", "fast"], 2, "--rate"),
    "a rate below zero": (None, [*FIT, "--rate=-1"], 2, "rate must be"),
    "a crop without a height": (None, [*FIT, "--crop", "64"], 2, "WIDTHxHEIGHT"),
    "an unknown width": (None, [*FIT, "--width", "huge"], 2, "--width must be one of small"),
    "an unknown encoder": (None, [*FIT, "--encoder", "lite9"], 2, "no EfficientNet 'lite9'"),
    "weights that are text": (text_files, [*FIT, "--encoder-weights", "{folder}/text.pth"], 2, "text.pth is not"),
    "weights that are missing": (None, [*FIT, "--encoder-weights", "{folder}/no.pth"], 2, "no weights file"),
    "a start that is text": (text_files, [*FIT, "--initial-weights", "{folder}/text.keras"], 2, "not a Keras model"),
    "a missing keras model": (None, ["evaluate", "{folder}/no.keras", *EVALUATE], 2, "no Keras model"),
    "a missing onnx model": (None, ["evaluate", "{folder}/no.onnx", *EVALUATE], 2, "no.onnx"),
    "a keras model that is text": (text_files, ["evaluate", "{folder}/text.keras", *EVALUATE], 2, "not a Keras model"),
    "an onnx model that is text": (text_files, ["evaluate", "{folder}/text.onnx", *EVALUATE], 2, "text.onnx"),
    "a pixel budget below zero": (None, ["evaluate", "{folder}/no.onnx", *EVALUATE, "--pixels=-5"], 2, "--pixels"),
    "an export of text": (text_files, ["export", "{folder}/text.keras", *EXPORT], 2, "not a Keras model"),
    "an export to another suffix": (None, ["export", "m.keras", *EXPORT, "-o", "m.bin"], 2, "end in .onnx"),
    "a fact without a value": (None, ["export", "m.keras", *EXPORT, "--fact", "licence"], 2, "KEY=TEXT"),
    "an export into no folder": (None, ["export", "m.keras", *EXPORT, "-o", "{folder}/no/m.onnx"], 2, "no folder"),
    "centres of no objects": (
        None,
        ["export", "m.keras", *EXPORT, "--no-objects", "--centre-most", "64"],
        2,
        "--no-objects leaves out what --centre-most is for",
    ),
    "a wrap into no folder": (None, ["wrap", "m.onnx", "-o", "{folder}/no/m.onnx"], 2, "no folder"),
    "no class table": (None, [*WRAP, "--classes", "{folder}/no.toml"], 2, "Cannot read the class table file"),
    "a street of letters": (None, [*FIT, "--data", "synth:x,y"], 2, "synth:SEED,N takes a seed of 0.."),
    "a report of no run": (None, ["report", "{folder}/camvid"], 2, "the folder of a run, which has a metrics.jsonl"),
    "a report of no folder": (None, ["report", "{folder}/run"], 2, "it is no folder"),
    "parity with text": (text_files, ["parity", "{folder}/text.onnx", "{folder}/no.keras", *EVALUATE], 2, "text.onnx"),
    "no command": (None, [], 2, "required"),
}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("what", BAD)
def test_bad_input_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str], what: str) -> None:
    damage, arguments, code, message = BAD[what]
    write_camvid(tmp_path / "camvid")
    if damage is not None:
        damage(tmp_path)
    found = main([word.format(folder=tmp_path) for word in arguments])
    error = capsys.readouterr().err
    assert (found, error.count("\n")) == (code, 1), error
    assert message in error
    assert "Traceback" not in error
    assert not (tmp_path / "run").exists()
    assert not (tmp_path / "m.onnx").exists()


@pytest.mark.timeout(300)
def test_settings_of_centres_are_for_models_that_have_them(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [str(work / "run" / "model.keras"), "-o", str(work / "no.onnx"), "--id", "no", "--pixels", "6144"]
    assert main(["export", *words, "--centre-threshold", "0.2"]) == 2
    assert "model.keras has no head for centres: leave out --centre-threshold." in capsys.readouterr().err
    assert not (work / "no.onnx").exists()


@pytest.mark.timeout(300)
def test_a_model_of_other_classes_cannot_be_scored(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frame = keras.Input((None, None, 3), dtype="uint8")
    keras.Model(frame, keras.layers.Conv2D(7, 1)(keras.layers.Rescaling(1.0)(frame))).save(tmp_path / "seven.keras")
    data = write_camvid(tmp_path / "camvid")
    assert main(["evaluate", str(tmp_path / "seven.keras"), "--data", f"camvid:{data}"]) == 2
    assert "logits over 19 classes" in capsys.readouterr().err
    from tiny_model import write_model

    unknown: dict[str, Any] = {"metadata": {"roadcast.pixels": "6144"}}
    path = write_model(tmp_path / "three.onnx", **unknown)
    assert main(["evaluate", str(path), "--data", f"camvid:{data}"]) == 0  # its labels are Cityscapes' own
