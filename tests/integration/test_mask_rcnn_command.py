"""Mask R-CNN from the command line: trained on a frozen light U-Net, resumed, exported and scored."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from tiny_training import write_trunk

from perception.errors import ConfigError
from training.cli import main

pytest.importorskip("keras", reason="training needs Keras and a backend")
pytest.importorskip("onnx", reason="export needs ONNX")

# Keras writes its files with an older idiom of numpy's.
pytestmark = [
    pytest.mark.usefixtures("shallow"),
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_trunk(tmp_path_factory.mktemp("detector"))


def fit(folder: Path, out: str, *more: str) -> int:
    data = ["--data", f"kitti:{folder / 'kitti'}:fit", "--score", f"kitti:{folder / 'kitti'}:proxy"]
    size = ["--width", "small", "--batch", "2", "--steps", "1", "--crop", "64x64", "--workers", "1", "--epochs", "2"]
    start = ["--head", "mask-rcnn", "--initial-weights", str(folder / "trunk.keras")]
    return int(
        main(["fit", "--out", str(folder / out), *data, *size, *start, "--evaluate-every", "1", "--ema", "0.5", *more])
    )


@pytest.mark.timeout(600)
def test_a_run_is_resumed_exported_and_scored(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from training.mask_rcnn.saved import load_detector
    from training.saver import Saver

    assert fit(folder, "whole") == 0

    def stop(saver: Saver, epoch: int, logs: dict[str, float] | None = None) -> None:
        end_epoch(saver, epoch, logs)
        raise KeyboardInterrupt

    end_epoch = Saver.on_epoch_end
    monkeypatch.setattr(Saver, "on_epoch_end", stop)
    start = shutil.copyfile(folder / "trunk.keras", folder / "start.keras")
    fit(folder, "stopped", "--initial-weights", str(start))
    start.unlink()  # only a beginning needs it
    assert not (folder / "stopped" / "model.keras").exists()
    monkeypatch.undo()
    assert fit(folder, "stopped", "--initial-weights", str(start), "--resume") == 0
    whole, resumed = (load_detector(folder / name / "model.keras") for name in ("whole", "stopped"))
    for one, other in zip(whole.variables, resumed.variables):
        np.testing.assert_array_equal(one.numpy(), other.numpy(), err_msg=one.path)
    lines = [json.loads(text) for text in (folder / "whole" / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2]
    assert all(0 <= line["kitti:proxy car AP50"] <= 1 and "kitti:proxy told apart" in line for line in lines)
    assert "car AP50" in (folder / "whole" / "report.html").read_text()

    capsys.readouterr()
    from_there = "--initial-weights", str(folder / "whole" / "model.keras"), "--epochs", "1"
    assert fit(folder, "further", *from_there) == 0
    assert f"start from {folder / 'whole' / 'model.keras'}" in capsys.readouterr().out

    model = folder / "m.onnx"
    assert (
        main(["export", str(folder / "whole" / "model.keras"), "-o", str(model), "--id", "m", "--pixels", "8192"]) == 0
    )
    assert json.loads(model.with_suffix(".json").read_text())["instances"] == "mask-rcnn"
    capsys.readouterr()
    data = f"kitti:{folder / 'kitti'}:proxy"
    assert main(["evaluate", str(model), "--task", "instances", "--data", data, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[data]["classes"]["car"]["objects"] == 4


def test_what_a_detector_cannot_do(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from training.mask_rcnn.network import MaskRCNN

    MaskRCNN([16, [16, 16, 16, 8]]).save(folder / "narrow.keras")
    given = ["export", str(folder / "narrow.keras"), "-o", str(folder / "n.onnx"), "--id", "n", "--pixels", "8192"]
    for more, word in ((["--no-objects"], "Mask R-CNN"), (["--refine", "crf"], "refinement")):
        code = main([*given, *more])
        assert code == ConfigError("").exit_code == 2
        assert word in capsys.readouterr().err
    assert not (folder / "n.onnx").exists()
