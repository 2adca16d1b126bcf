"""Predictions for the Cityscapes server, and our scores against the benchmark's own evaluator."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from tiny_data import write_png

from perception.errors import ConfigError, OutputError
from perception.types import VOID
from training.data.datasets import Pair
from training.data.taxonomy import train_ids_from_label_ids
from training.metrics import confusion_matrix, empty_confusion, iou_per_class, mean_iou
from training.predictions import PredictionWriter

CLASSES = 19


def pair_of(name: str, folder: str = "leftImg8bit/val/aachen") -> Pair:
    return Pair(Path(folder) / f"{name}_leftImg8bit.png", Path(f"{name}_gtFine_labelIds.png"), "cityscapes")


def test_train_ids_are_written_as_the_label_ids_they_came_from(tmp_path: Path) -> None:
    labels = np.arange(CLASSES, dtype=np.uint8).reshape(1, CLASSES)
    PredictionWriter(tmp_path / "new" / "folder").write(pair_of("aachen_000000_000019"), labels)
    (file,) = (tmp_path / "new" / "folder").iterdir()
    assert file.name == "aachen_000000_000019_pred_labelIds.png"
    written = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
    assert (train_ids_from_label_ids()[written] == labels).all()


def test_two_frames_of_one_name_are_refused(tmp_path: Path) -> None:
    writer, labels = PredictionWriter(tmp_path), np.zeros((2, 2), np.uint8)
    writer.write(pair_of("000001_10", "kitti"), labels)
    writer.write(pair_of("000001_10", "kitti"), labels)
    with pytest.raises(ConfigError, match="both be written"):
        writer.write(pair_of("000001_10", "other"), labels)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="folder"):
        PredictionWriter(tmp_path / "file" / "x").write(pair_of("a_000000_000001"), np.zeros((2, 2), np.uint8))


@pytest.fixture
def official(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The benchmark's evaluator."""
    monkeypatch.delenv("CITYSCAPES_DATASET", raising=False)
    monkeypatch.delenv("CITYSCAPES_EXPORT_DIR", raising=False)
    with warnings.catch_warnings():  # it is older than some of what it imports
        warnings.simplefilter("ignore")
        module = pytest.importorskip(
            "cityscapesscripts.evaluation.evalPixelLevelSemanticLabeling", reason="needs cityscapesScripts"
        )
    module.args.evalInstLevelScore = False
    module.args.JSONOutput = False
    module.args.quiet = True
    monkeypatch.setattr(module.args, "predictionWalk", None)
    return module


@pytest.mark.filterwarnings("ignore")
def test_we_score_as_the_benchmark_does(tmp_path: Path, official: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Random maps of all label ids; the prediction is right in two of three pixels, and void in one of ten."""
    random = np.random.default_rng(0)
    table = train_ids_from_label_ids()
    total = empty_confusion(CLASSES)
    writer = PredictionWriter(tmp_path / "predictions")
    truths = []
    for number in range(3):
        name = f"aachen_000000_{number:06d}"
        truth_ids = random.integers(0, 34, (40, 60)).astype(np.uint8)
        truth = table[truth_ids]
        prediction = np.where(random.random(truth.shape) < 0.66, truth, random.integers(0, CLASSES, truth.shape))
        prediction = np.where(random.random(truth.shape) < 0.1, VOID, prediction).astype(np.uint8)
        total += confusion_matrix(truth, prediction, CLASSES)
        truths.append(str(tmp_path / "gtFine" / f"{name}_gtFine_labelIds.png"))
        write_png(Path(truths[-1]), truth_ids)
        writer.write(pair_of(name), prediction)
    monkeypatch.setenv("CITYSCAPES_RESULTS", str(tmp_path / "predictions"))
    monkeypatch.setattr(official.args, "predictionPath", None)
    found = [official.getPrediction(official.args, truth) for truth in truths]
    result = official.evaluateImgLists(found, truths, official.args)
    names = {label.trainId: label.name for label in official.labels if 0 <= label.trainId < CLASSES}
    expected = [result["classScores"][names[i]] for i in range(CLASSES)]
    assert iou_per_class(total) == pytest.approx(expected, abs=1e-12)
    assert mean_iou(total) == pytest.approx(result["averageScoreClasses"], abs=1e-12)
