"""A head that tells objects apart is trained on a frozen light U-Net, from the command line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_data import write_camvid, write_kitti
from tiny_training import write_trunk

from perception.errors import ConfigError
from training.cli import main
from training.settings import FitConfig

pytest.importorskip("keras", reason="training needs Keras and a backend")

# Keras writes its files with an older idiom of numpy's.
pytestmark = [
    pytest.mark.usefixtures("shallow"),
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_trunk(tmp_path_factory.mktemp("instances"))


def fit(folder: Path, out: str, *more: str, head: str = "centre") -> int:
    data = ["--data", f"kitti:{folder / 'kitti'}:fit", "--score", f"kitti:{folder / 'kitti'}:proxy"]
    size = ["--width", "small", "--batch", "2", "--steps", "2", "--crop", "64x64", "--workers", "1"]
    start = ["--head", head, "--initial-weights", str(folder / "trunk.keras"), "--evaluate-every", "1", "--ema", "0.5"]
    return int(main(["fit", "--out", str(folder / out), *data, *size, *start, *more]))


WHOLE = ("--epochs", "2", "--precision", "mixed_bfloat16")


@pytest.fixture(scope="module")
def whole(folder: Path) -> Path:
    """The folder of a run of two epochs."""
    assert fit(folder, "whole", *WHOLE) == 0
    return folder / "whole"


def weights_by_path(model: Any) -> dict[str, np.ndarray]:
    return {variable.path: variable.numpy() for variable in model.variables}


@pytest.mark.timeout(600)
def test_the_head_learns_and_the_trunk_stays_as_it_is(folder: Path, whole: Path) -> None:
    from training.models.saved import load_model

    before, after = load_model(folder / "trunk.keras"), load_model(whole / "model.keras")
    assert after.output_names == ["logits", "centres", "offsets"]
    trunk, learnt = weights_by_path(before), weights_by_path(after)
    assert all((learnt[path] == values).all() for path, values in trunk.items())
    frame = np.random.default_rng(0).integers(0, 256, (1, 64, 128, 3), np.uint8)
    logits, centres, offsets = (np.asarray(answer) for answer in after.predict_on_batch(frame))
    assert (logits == np.asarray(before.predict_on_batch(frame))).all()
    assert centres.shape == (1, 16, 32, 1)
    assert offsets.shape == (1, 16, 32, 2)
    lines = [json.loads(text) for text in (whole / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2]
    assert all(0 <= line["kitti:proxy car AP50"] <= 1 and "kitti:proxy told apart" in line for line in lines)
    assert (whole / "predictions.png").stat().st_size > 1000
    assert "car AP50" in (whole / "report.html").read_text()


@pytest.mark.timeout(600)
def test_a_resumed_run_ends_like_one_that_was_not_stopped(
    folder: Path, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from training.models.saved import load_model
    from training.saver import Saver

    def stop(saver: Saver, epoch: int, logs: dict[str, float] | None = None) -> None:
        end_epoch(saver, epoch, logs)
        raise KeyboardInterrupt

    end_epoch = Saver.on_epoch_end
    monkeypatch.setattr(Saver, "on_epoch_end", stop)
    start = shutil.copyfile(folder / "trunk.keras", folder / "start.keras")
    begun = (*WHOLE, "--initial-weights", str(start))
    fit(folder, "stopped", *begun)
    start.unlink()  # only a beginning needs it
    assert not (folder / "stopped" / "model.keras").exists()
    monkeypatch.undo()
    assert fit(folder, "stopped", *begun, "--resume") == 0
    one, other = (weights_by_path(load_model(run / "model.keras")) for run in (whole, folder / "stopped"))
    assert all(np.allclose(values, other[path], atol=1e-5) for path, values in one.items())


@pytest.mark.timeout(600)
def test_a_trunk_that_learns_too_learns_its_labels_from_all_data(folder: Path, tmp_path: Path) -> None:
    from training.models.saved import load_model

    more = ["--data", f"camvid:{write_camvid(tmp_path / 'camvid')}", "--score", f"camvid:{tmp_path / 'camvid'}"]
    assert fit(folder, "joint", *more, "--trunk", "learns", "--epochs", "1", "--rate", "0.01") == 0
    before, after = (load_model(folder / name) for name in ("trunk.keras", "joint/model.keras"))
    assert after.output_names == ["logits", "centres", "offsets"]
    trunk, learnt = weights_by_path(before), weights_by_path(after)
    kept = [path for path, values in trunk.items() if (learnt[path] == values).all()]
    assert not [path for path in kept if "conv/kernel" in path]
    (line,) = [json.loads(text) for text in (folder / "joint" / "metrics.jsonl").read_text().splitlines()]
    assert {"kitti:proxy mIoU", "kitti:proxy car AP50", "camvid:train mIoU"} <= set(line)
    assert "camvid:train AP50" not in line
    assert (folder / "joint" / "predictions.png").stat().st_size > 1000


@pytest.mark.timeout(600)
def test_the_boundary_head_gives_bodies_and_borders(folder: Path) -> None:
    from training.models.saved import load_model

    assert fit(folder, "boundary", "--epochs", "1", head="boundary") == 0
    model = load_model(folder / "boundary" / "model.keras")
    assert model.output_names == ["logits", "boundary"]
    frame = np.zeros((1, 64, 128, 3), np.uint8)
    assert np.asarray(model.predict_on_batch(frame)[1]).shape == (1, 16, 32, 2)


def test_data_without_objects_is_refused_at_once(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fit(folder, "no", "--data", f"camvid:{write_camvid(tmp_path / 'camvid')}") == 2
    assert "does not tell objects apart" in capsys.readouterr().err
    bare = write_kitti(tmp_path / "kitti", count=2)
    assert fit(folder, "no", "--data", f"kitti:{bare}") == 2
    assert "2 of 2 images have no instance map" in capsys.readouterr().err
    assert not (folder / "no").exists()


def test_a_head_has_nothing_to_learn_from_labels_alone(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--out", str(folder / "no"), "--head", "centre", "--initial-weights", str(folder / "trunk.keras")]
    data = ["--data", f"camvid:{write_camvid(tmp_path / 'camvid')}"]
    assert main(["fit", *flags, *data, "--trunk", "learns"]) == 2
    assert "The head 'centre' has nothing to learn from: no data set tells objects apart" in capsys.readouterr().err
    assert not (folder / "no").exists()


def test_a_head_needs_a_trunk_that_fits(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ConfigError, match="needs initial_weights"):
        FitConfig(out=tmp_path, head="centre")
    with pytest.raises(ConfigError, match="stands on the network light; unet takes none"):
        FitConfig(out=tmp_path, head="centre", network="unet", initial_weights=folder / "trunk.keras")
    assert fit(folder, "no", "--width", "medium", "--epochs", "1") == 2
    assert "cannot start this run" in capsys.readouterr().err
    assert not (folder / "no").exists()
