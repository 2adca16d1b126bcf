"""``roadcast-train restore``, ``degrade`` and ``export --enhance``, from frames on disk to a file that a node runs."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from tiny_data import write_camvid, write_kitti
from tiny_training import tiny_net

keras = pytest.importorskip("keras", reason="training needs Keras and a backend")

from perception.engines.contract import read_spec  # noqa: E402
from perception.engines.enhancement import read_enhancement  # noqa: E402
from perception.engines.open import open_engine  # noqa: E402
from training.cli import main  # noqa: E402
from training.restoration.restorer import load_restorer  # noqa: E402
from training.saver import Saver  # noqa: E402

# Keras writes its files with an older idiom of numpy's.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")

SHORT = ("--network", "conv", "--latent", "4", "--crop", "32x32", "--batch", "2", "--steps", "2", "--epochs", "2")


@pytest.fixture
def data(tmp_path: Path) -> str:
    return f"camvid:{write_camvid(tmp_path / 'camvid')}"


def metrics_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.timeout(300)
def test_a_run_leaves_a_model_its_enhancement_pictures_and_a_report(
    data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    arguments = ("--data", data, "--score", f"{data}:val", "--degrade", "gaussian", "--id", "mine", "--out", str(out))
    assert main(["restore", *SHORT, *arguments]) == 0
    assert "wrote" in capsys.readouterr().out
    lines = metrics_of(out)
    assert [line["epoch"] for line in lines] == [1, 2]
    assert lines[-1]["camvid:val PSNR of the input"] == pytest.approx(20.5, abs=1)
    assert 5 < lines[-1]["camvid:val PSNR"] < 40
    sheet = cv2.imread(str(out / "predictions.png"))
    assert sheet.shape == (64, 3 * 96, 3)
    assert "camvid:val PSNR" in (out / "report.html").read_text()
    enhancement = read_enhancement(str(out / "model.onnx"))
    assert (enhancement.name, enhancement.factor, enhancement.multiple) == ("mine", 1, 8)
    before = (out / "model.onnx").read_bytes()
    assert main(["restore", *SHORT, *arguments, "--resume", "--fact", "licence=none"]) == 0
    card = json.loads((out / "model.json").read_text())
    assert (card["licence"], card["id"], card["degradations"]) == ("none", "mine", ["gaussian"])
    assert card["scores"]["camvid:val PSNR"] == lines[-1]["camvid:val PSNR"]
    assert card["sha256"] == read_enhancement(str(out / "model.onnx")).sha256
    assert (out / "model.onnx").read_bytes() != before
    assert len(metrics_of(out)) == 2
    capsys.readouterr()
    assert main(["restore", *SHORT, *arguments]) == 2
    assert "holds a run already" in capsys.readouterr().err
    assert main(["restore", *SHORT, *arguments, "--loss", "l2", "--resume"]) == 2
    assert "started with another loss" in capsys.readouterr().err


@pytest.mark.timeout(300)
def test_a_run_that_was_stopped_ends_as_one_that_was_not(
    data: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from training.models.restoration import build_restorer

    start = tmp_path / "start.keras"
    build_restorer("conv", latent=4).save(start)

    def arguments(name: str) -> list[str]:
        given = ("--data", data, "--degrade", "lowlight", "--evaluate-every", "1", "--out", str(tmp_path / name))
        given += ("--initial-weights", str(start))
        return ["restore", *SHORT, *given]

    assert main(arguments("whole")) == 0
    finish = Saver.on_epoch_end

    def stop_after_one(saver: Any, epoch: int, logs: Any = None) -> None:
        finish(saver, epoch, logs)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Saver, "on_epoch_end", stop_after_one)
        assert main(arguments("stopped")) == 130
    assert not (tmp_path / "stopped" / "model.keras").exists()
    start.unlink()  # only a beginning needs it
    assert main([*arguments("stopped"), "--resume"]) == 0
    whole, again = (load_restorer(tmp_path / name / "model.keras") for name in ("whole", "stopped"))
    for one, other in zip(whole.weights, again.weights):
        assert np.asarray(one) == pytest.approx(np.asarray(other), abs=1e-6)


@pytest.mark.timeout(300)
def test_a_run_starts_with_the_model_of_another(data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    assert main(["restore", *SHORT, "--data", data, "--out", str(first)]) == 0
    start = ("--initial-weights", str(first / "model.keras"), "--rate", "1e-9")
    assert main(["restore", *SHORT, "--data", data, "--out", str(second), *start]) == 0
    for one, other in zip(*(load_restorer(folder / "model.keras").weights for folder in (first, second))):
        assert np.asarray(one) == pytest.approx(np.asarray(other), abs=1e-5)
    capsys.readouterr()
    other = ("--latent", "5", "--out", str(tmp_path / "third"))
    assert main(["restore", *SHORT, "--data", data, *start, *other]) == 2
    assert "another network than the one to train" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--degrade", "fog"), "no degradation 'fog'"),
        (("--network", "gan"), "must be one of denoise"),
        (("--crop", "33x32"), "multiples of 32"),
    ],
)
def test_wrong_settings_end_with_one_sentence(
    arguments: tuple[str, ...], says: str, data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["restore", *SHORT, "--data", data, "--out", str(tmp_path / "run"), *arguments]) == 2
    assert says in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_spoilt_data_set_is_one_of_the_same_kind(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from training.data.datasets import open_dataset, read_pair

    kitti, out = write_kitti(tmp_path / "kitti"), tmp_path / "dark"
    assert main(["degrade", str(out), "--data", f"kitti:{kitti}", "--by", "dark"]) == 0
    for before, after in zip(open_dataset(f"kitti:{kitti}"), open_dataset(f"kitti:{out}"), strict=True):
        (image, labels), (dark, same) = read_pair(before), read_pair(after)
        assert (labels == same).all()
        assert dark.mean() < 0.6 * image.mean()
    assert main(["degrade", str(out), "--data", f"kitti:{kitti}", "--by", "dark"]) == 2
    assert "exists already" in capsys.readouterr().err
    strength = ["degrade", str(tmp_path / "x"), "--data", f"kitti:{kitti}", "--by", "jpeg", "--strength", "0"]
    assert main(strength) == 2
    assert "strength of jpeg must lie in 1..100" in capsys.readouterr().err


@pytest.mark.timeout(300)
def test_export_puts_a_trained_network_before_a_model(
    data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, model, out = tmp_path / "sharp", tmp_path / "labels.keras", tmp_path / "both.onnx"
    short = ("--network", "subpixel", "--crop", "64x64", "--batch", "1", "--steps", "1", "--epochs", "1")
    assert main(["restore", *short, "--data", data, "--out", str(run), "--id", "sharp"]) == 0
    tiny_net().save(model)
    words = ["export", str(model), "-o", str(out), "--id", "both", "--pixels", "16384", "--label-stride", "2"]
    for enhancement in (run / "model.keras", run / "model.onnx"):
        assert main([*words, "--enhance", str(enhancement), "--score", f"{data}:val"]) == 0
        spec = read_spec(out)
        assert (spec.id, spec.pixels, spec.multiple) == ("both", 4096, 16)
        card = json.loads(out.with_suffix(".json").read_text())
        assert card["enhancement"] == "sharp"
        assert "camvid:val" in card["scores"]
        with closing(open_engine("onnxruntime", out, threads=1)) as engine:
            found = engine.submit(np.full((1, 48, 64, 3), 90, np.uint8)).result()
        assert found["image"].shape == (1, 96, 128, 3)
        assert found["labels"].shape == (1, 48, 64)
    out.unlink()
    capsys.readouterr()
    assert main([*words, "--enhance", "sharpen"]) == 2
    assert "There is no enhancement 'sharpen'" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.glob("both*")) == ["both.json"]
