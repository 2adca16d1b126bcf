"""``roadcast-train evaluate`` with a model whose every answer is known."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tiny_model
from tiny_data import write_png
from tiny_model import CAR, SKY, VEGETATION, write_model

from perception.types import VOID
from training.cli import main

pytest.importorskip("keras", reason="training needs Keras and a backend")

SIZE = (128, 64)
LABEL_IDS = {SKY: 23, VEGETATION: 21, CAR: 26}
COLOURS = {SKY: (220, 20, 20), VEGETATION: (20, 220, 20), CAR: (20, 20, 220)}


def write_drive(root: Path, *, frames: int = 3, wrong: int = 0, split: str = "val", labels: bool = True) -> Path:
    """Sky over vegetation with a car; in the first ``wrong`` frames the car is painted in the colour of the sky."""
    for number in range(frames):
        truth = np.full(SIZE[::-1], SKY, np.uint8)
        truth[32:] = VEGETATION
        truth[40:56, 32:64] = CAR
        painted = np.where((truth == CAR) & (number < wrong), SKY, truth)
        image = np.zeros((*truth.shape, 3), np.uint8)
        for label, colour in COLOURS.items():
            image[painted == label] = colour
        stem = f"town_000000_{number:06d}"
        write_png(root / "leftImg8bit" / split / "town" / f"{stem}_leftImg8bit.png", image)
        if labels:
            ids = np.vectorize(LABEL_IDS.get)(truth).astype(np.uint8)
            write_png(root / "gtFine" / split / "town" / f"{stem}_gtFine_labelIds.png", ids)
    return root


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_model(tmp_path / "tiny.onnx")


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> Any:
    capsys.readouterr()
    assert main(["evaluate", *map(str, arguments), "--pixels", str(SIZE[0] * SIZE[1]), "--json"]) == 0
    (result,) = json.loads(capsys.readouterr().out).values()
    return result


def test_every_figure_is_the_one_counted_by_hand(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_drive(tmp_path, frames=2, wrong=1)
    result = run(capsys, model, "--data", f"cityscapes:{data}", "--split", "val", "--boundary", "--flicker")
    sky, green, car = 128 * 32, 128 * 32 - 512, 512
    iou = {"vegetation": 1.0, "sky": 2 * sky / (2 * sky + car), "car": car / (2 * car)}
    assert result["iou"] == pytest.approx(iou, abs=1e-4)
    assert result["mean_iou"] == pytest.approx(np.mean(list(iou.values())), abs=1e-4)
    assert result["mean_dice"] == pytest.approx(np.mean([2 * j / (1 + j) for j in iou.values()]), abs=1e-4)
    assert result["pixel_accuracy"] == pytest.approx(1 - car / (2 * 128 * 64), abs=1e-4)
    assert result["mean_accuracy"] == pytest.approx((1 + 1 + 0.5) / 3, abs=1e-4)
    weighted = (sky * iou["sky"] + green + car * iou["car"]) / (128 * 64)
    assert result["frequency_weighted_iou"] == pytest.approx(weighted, abs=1e-4)
    assert result["boundary_f_per_class"]["car"] == pytest.approx(0.5, abs=1e-4)
    assert result["flicker"]["of_truth"] == pytest.approx(car / (128 * 64), abs=1e-4)


def test_what_a_model_leaves_void_is_missed_and_claimed_by_no_class(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    data, predictions, plots = write_drive(tmp_path, frames=1), tmp_path / "predictions", tmp_path / "plots"
    monkeypatch.setattr(tiny_model, "BY_CHANNEL", np.array([SKY, VEGETATION, VOID], np.uint8))
    model = write_model(tmp_path / "tiny.onnx")
    arguments = ("--boundary", "--predictions", predictions, "--plots", plots)
    result = run(capsys, model, "--data", f"cityscapes:{data}:val", *arguments)
    assert result["iou"] == pytest.approx({"vegetation": 1.0, "sky": 1.0, "car": 0.0})
    assert result["mean_iou"] == pytest.approx(2 / 3, abs=1e-4)
    assert result["pixel_accuracy"] == pytest.approx(1 - 512 / (128 * 64), abs=1e-4)
    assert result["boundary_f_per_class"]["car"] == 0
    written = cv2.imread(str(predictions / "town_000000_000000_pred_labelIds.png"), cv2.IMREAD_UNCHANGED)
    assert set(np.unique(written)) == {0, LABEL_IDS[SKY], LABEL_IDS[VEGETATION]}
    assert cv2.imread(str(plots / "cityscapes-val" / "confusion.png")) is not None


def test_a_model_that_comes_with_the_package_goes_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run(capsys, "unet-slim", "--data", f"cityscapes:{write_drive(tmp_path, frames=1)}:val")
    assert result["images"] == 1


def test_a_class_of_another_taxonomy_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = write_drive(tmp_path, frames=1)
    monkeypatch.setattr(tiny_model, "BY_CHANNEL", np.array([SKY, VOID, 19], np.uint8))
    arguments = ["evaluate", str(write_model(tmp_path / "tiny.onnx")), "--data", f"cityscapes:{data}:val"]
    assert main([*arguments, "--pixels", str(SIZE[0] * SIZE[1])]) == 2
    assert "answered label 19; only models of 19 classes" in capsys.readouterr().err


def test_predictions_and_pictures_are_written(tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write_drive(tmp_path, frames=3, wrong=1)
    predictions, plots = tmp_path / "predictions", tmp_path / "plots"
    run(capsys, model, "--data", f"cityscapes:{data}:val", "--predictions", predictions, "--plots", plots)
    files = sorted(predictions.iterdir())
    assert [file.name for file in files] == [f"town_000000_{n:06d}_pred_labelIds.png" for n in range(3)]
    last = cv2.imread(str(files[2]), cv2.IMREAD_UNCHANGED)
    truth = cv2.imread(str(data / "gtFine/val/town/town_000000_000002_gtFine_labelIds.png"), cv2.IMREAD_UNCHANGED)
    assert (last == truth).all()
    for name in ("confusion", "iou", "worst"):
        picture = cv2.imread(str(plots / "cityscapes-val" / f"{name}.png"))
        assert picture is not None
        assert picture.std() > 5


@pytest.mark.parametrize("labels", [False, True])
def test_a_test_split_without_labels_is_predicted_and_not_scored(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str], labels: bool
) -> None:
    data = write_drive(tmp_path, split="test", labels=False)
    if labels:  # the benchmark gives maps that hold nothing
        for number in range(3):
            void = np.zeros(SIZE[::-1], np.uint8)
            write_png(data / "gtFine" / "test" / "town" / f"town_000000_{number:06d}_gtFine_labelIds.png", void)
    arguments = ["evaluate", str(model), "--data", f"cityscapes:{data}:test", "--predictions", str(tmp_path / "out")]
    assert main(arguments) == 0
    assert "no pixel is labelled" in capsys.readouterr().out
    assert len(list((tmp_path / "out").iterdir())) == 3
    assert main(arguments[:4]) in (2, 3)


def test_a_folder_in_the_way_is_one_sentence(tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write_drive(tmp_path, frames=1)
    (tmp_path / "file").write_text("in the way")
    for flag in ("--predictions", "--plots"):
        arguments = ["evaluate", str(model), "--data", f"cityscapes:{data}:val", flag, str(tmp_path / "file" / "x")]
        assert main(arguments) == 3
        assert "Cannot make the folder" in capsys.readouterr().err
