"""Training runs from end to end, with a network of three layers in the place of the light U-Net."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_data import write_camvid
from tiny_training import tiny_net

from perception.errors import ConfigError, ModelError, OutputError, RoadcastError, SourceError
from training.data.mixture import open_mixture
from training.data.samples import Mixture
from training.data.statistics import ClassCounts
from training.settings import FitConfig

keras = pytest.importorskip("keras", reason="training needs Keras and a backend")
fit_module = pytest.importorskip("training.fit")
saver_module = pytest.importorskip("training.saver")
saved_module = pytest.importorskip("training.models.saved")

# Keras writes its files with an older idiom of numpy's.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")

CLASSES = 19


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fit_module, "build_network", tiny_net)


@pytest.fixture
def mixture(tmp_path: Path) -> Mixture:
    return open_mixture([f"camvid:{write_camvid(tmp_path / 'camvid')}"])


def config_in(folder: Path, **changes: Any) -> FitConfig:
    settings: dict[str, Any] = {
        "epochs": 3,
        "steps": 2,
        "batch": 2,
        "crop": (64, 64),
        "workers": 1,
        "evaluate_every": 1,
        "ema": 0.5,
        "rate": 0.02,
    }
    return FitConfig(out=folder, **(settings | changes))


def no_score(_model: Any) -> dict[str, float]:
    return {}


def interrupted_at(epoch: int) -> Any:
    """A scorer during which Ctrl-C arrives."""
    calls = iter(range(1, 100))

    def score(_model: Any) -> dict[str, float]:
        if next(calls) == epoch:
            raise KeyboardInterrupt
        return {"proxy": 0.5}

    return score


def weights_of(path: Path) -> list[np.ndarray]:
    return [variable.numpy() for variable in saved_module.load_model(path).variables]


def metrics_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.timeout(300)
def test_a_run_that_was_interrupted_ends_with_the_weights_of_one_that_was_not(tmp_path: Path, mixture: Mixture) -> None:
    start = tmp_path / "start.keras"
    tiny_net().save(start)
    whole = fit_module.fit(config_in(tmp_path / "whole", initial_weights=start), mixture, no_score)
    config = config_in(tmp_path / "cut", initial_weights=start)
    with pytest.raises(KeyboardInterrupt):
        fit_module.fit(config, mixture, interrupted_at(2))
    assert json.loads((config.out / "checkpoint.json").read_text())["epoch"] == 1
    assert not (config.out / "model.keras").exists()
    start.unlink()  # only a beginning needs it
    cut = fit_module.fit(replace(config, workers=2), mixture, no_score, resume=True)
    for one, other in zip(weights_of(whole), weights_of(cut)):
        np.testing.assert_allclose(other, one, rtol=1e-6, atol=1e-7)
    losses = [[line["loss"] for line in metrics_of(folder)] for folder in (tmp_path / "whole", config.out)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    assert [line["epoch"] for line in metrics_of(config.out)] == [1, 2, 3]
    assert len(list(config.out.glob("checkpoint-*"))) == 1
    assert not list(config.out.glob("*part*"))
    again = fit_module.fit(config, mixture, no_score, resume=True)  # nothing is left to do
    for one, other in zip(weights_of(whole), weights_of(again)):
        np.testing.assert_allclose(other, one, rtol=1e-6, atol=1e-7)


@pytest.mark.timeout(300)
def test_a_checkpoint_holds_weights_statistics_and_the_optimizer_with_its_average(
    tmp_path: Path, mixture: Mixture
) -> None:
    folder = fit_module.RunFolder(tmp_path, {})
    config = config_in(tmp_path)
    trained, fresh = (fit_module._build(config, mixture) for _ in range(2))
    random = np.random.default_rng(0)
    frames = random.integers(0, 256, (2, 64, 64, 3), np.uint8)
    labels = random.integers(0, CLASSES, (2, 32, 32)).astype(np.uint8)
    for _ in range(3):
        trained.train_on_batch(frames, (labels, labels.copy()))
    folder.save_checkpoint(trained, 3)
    folder.load_checkpoint(fresh)
    state = [model.variables + model.optimizer.variables for model in (trained, fresh)]
    assert len(state[0]) > 3 * len(trained.trainable_variables)
    for one, other in zip(*state):
        assert (np.asarray(one) == np.asarray(other)).all(), one.path
    averages = trained.optimizer._model_variables_moving_average
    assert all((np.asarray(a) != np.asarray(v)).any() for a, v in zip(averages, trained.trainable_variables))
    averaged = tiny_net()
    saver_module.average_into(averaged, fresh)
    by_path = {v.path: np.asarray(a) for v, a in zip(trained.trainable_variables, averages)}
    for variable in averaged.trainable_variables:
        assert (variable.numpy() == by_path[variable.path]).all()
    statistics = [model.get_layer("encoder_bn").moving_variance.numpy() for model in (averaged, trained)]
    assert (statistics[0] == statistics[1]).all()
    assert (statistics[0] != 1).all()


@pytest.mark.timeout(300)
def test_a_few_frames_can_be_learnt_by_heart(tmp_path: Path, mixture: Mixture) -> None:
    config = config_in(tmp_path / "run", epochs=3, steps=12, rate=0.05, hard_share=1.0, evaluate_every=3)
    fit_module.fit(config, mixture, no_score)
    losses = [line["loss"] for line in metrics_of(config.out)]
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.timeout(300)
def test_a_run_in_bfloat16_leaves_a_float32_model_and_the_policy_as_it_was(tmp_path: Path, mixture: Mixture) -> None:
    before = keras.config.dtype_policy().name
    path = fit_module.fit(config_in(tmp_path / "run", epochs=1, steps=1, precision="mixed_bfloat16"), mixture, no_score)
    assert {layer.dtype_policy.name for layer in saved_module.load_model(path).layers[1:]} == {"float32"}
    assert keras.config.dtype_policy().name == before


@pytest.mark.timeout(300)
def test_a_loss_that_is_not_finite_ends_the_run_and_keeps_the_checkpoint(
    tmp_path: Path, mixture: Mixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_in(tmp_path / "run", epochs=2, steps=2)
    with pytest.raises(KeyboardInterrupt):
        fit_module.fit(config, mixture, interrupted_at(2))
    before = (config.out / "checkpoint-1.weights.h5").read_bytes()

    class Broken:
        def __init__(self, **_options: Any) -> None: ...

        def __call__(self, _labels: Any, logits: Any) -> Any:
            return keras.ops.mean(logits) * float("nan")

    monkeypatch.setattr("training.label_loss.SegmentationLoss", Broken)
    with pytest.raises(RoadcastError, match=r"loss became nan in epoch 2.*checkpoint"):
        fit_module.fit(config, mixture, no_score, resume=True)
    assert (config.out / "checkpoint-1.weights.h5").read_bytes() == before
    assert json.loads((config.out / "checkpoint.json").read_text())["epoch"] == 1


@pytest.mark.timeout(300)
def test_an_unreadable_image_ends_the_run_with_its_name(
    tmp_path: Path, mixture: Mixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was readable when classes were counted; whatever the backend makes of the error, ours comes out."""
    counts = ClassCounts(np.ones(CLASSES), np.ones(CLASSES))
    monkeypatch.setattr("training.label_loss.count_classes", lambda _pairs: counts)
    for path in (tmp_path / "camvid" / "train").iterdir():
        path.write_text("no image any more")
    with pytest.raises(SourceError, match="Cannot read"):
        fit_module.fit(config_in(tmp_path / "run"), mixture, no_score)


def claimed(folder: Path, mixture: Mixture, **changes: Any) -> FitConfig:
    """The folder of a run that was started and stopped before its first checkpoint."""
    config = config_in(folder, **changes)
    fit_module.RunFolder(folder, config.to_json() | {"data": mixture.to_json()}).claim(0)
    return config


def test_a_run_is_not_continued_under_other_settings_or_other_data(tmp_path: Path, mixture: Mixture) -> None:
    config = claimed(tmp_path / "run", mixture)
    with pytest.raises(ConfigError, match="holds a run already"):
        fit_module.fit(config, mixture, no_score)
    with pytest.raises(ConfigError, match="another rate, seed"):
        fit_module.fit(replace(config, rate=0.5, seed=9), mixture, no_score, resume=True)
    with pytest.raises(ConfigError, match="another data"):
        fit_module.fit(config, replace(mixture, weights=(2.0,)), no_score, resume=True)


def test_damaged_run_folders_are_one_clear_sentence(tmp_path: Path, mixture: Mixture) -> None:
    config = claimed(tmp_path / "run", mixture)
    checkpoint = config.out / "checkpoint.json"
    checkpoint.write_text(json.dumps({"epoch": 1, "weights": "checkpoint-1.weights.h5"}))
    (config.out / "checkpoint-1.weights.h5").write_text("cut")
    with pytest.raises(ModelError, match="checkpoint-1"):
        fit_module.fit(config, mixture, no_score, resume=True)
    checkpoint.write_text("{")
    with pytest.raises(ConfigError, match="damaged"):
        fit_module.fit(config, mixture, no_score, resume=True)
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="run folder"):
        fit_module.fit(config_in(tmp_path / "file" / "run"), mixture, no_score)


def test_weights_that_cannot_be_used_claim_no_folder(tmp_path: Path, mixture: Mixture) -> None:
    (tmp_path / "bad.pth").write_text("not weights")
    (tmp_path / "bad.keras").write_text("not a model")
    other = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(2, 1)])
    other.save(tmp_path / "other.keras")
    for changes, message in (
        ({"encoder_weights": tmp_path / "bad.pth"}, "not a PyTorch state dict"),
        ({"encoder_weights": tmp_path / "missing.pth"}, "no weights file"),
        ({"initial_weights": tmp_path / "bad.keras"}, "not a Keras model"),
        ({"initial_weights": tmp_path / "other.keras"}, "logits over 19 classes"),
    ):
        with pytest.raises(ModelError, match=message):
            fit_module.fit(config_in(tmp_path / "run", **changes), mixture, no_score)
        assert not (tmp_path / "run").exists()


@pytest.mark.timeout(300)
def test_a_run_can_start_from_another_s_model(tmp_path: Path, mixture: Mixture) -> None:
    start = tiny_net()
    start.save(tmp_path / "start.keras")
    config = config_in(tmp_path / "run", initial_weights=tmp_path / "start.keras")
    model = fit_module._build(config, mixture)
    said: list[str] = []
    fit_module._start(model, config, said.append)
    assert said[0].startswith(f"start from {config.initial_weights}")
    for layer in start.layers:
        for one, other in zip(layer.get_weights(), model.get_layer(layer.name).get_weights()):
            assert (one == other).all()
