"""The mean of several models' weights, from the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

keras = pytest.importorskip("keras", reason="training needs Keras and a backend")

from perception.errors import ConfigError, ModelError  # noqa: E402
from training.cli import main  # noqa: E402
from training.models.fcn import fcn  # noqa: E402
from training.models.saved import load_model  # noqa: E402

# Keras writes its files with an older idiom of numpy's.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")


def saved(path: Path, seed: int, width: int = 4) -> Any:
    """A small network of random weights, and its file."""
    model, random = fcn(32, channels=(width,) * 5, head=width, norm=True), np.random.default_rng(seed)
    model.set_weights([random.normal(size=one.shape) for one in model.get_weights()])
    model.save(path)
    return model


def test_weights_are_the_mean_by_shares(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    models = [saved(tmp_path / name, seed) for seed, name in enumerate(("a=1.keras", "b.keras"))]
    out = tmp_path / "c.keras"
    assert main(["average", f"{tmp_path / 'a=1.keras'}=1", f"{tmp_path / 'b.keras'}=3", "-o", str(out)]) == 0
    assert f"wrote {out}" in capsys.readouterr().out
    for one, other, mean in zip(*(model.get_weights() for model in (*models, load_model(out)))):
        np.testing.assert_allclose(mean, 0.25 * one + 0.75 * other, atol=1e-6)
    assert main(["average", str(tmp_path / "b.keras"), str(out), "-o", str(out)]) == 0  # over one of its own models
    for one, other, mean in zip(*(model.get_weights() for model in (*models, load_model(out)))):
        np.testing.assert_allclose(mean, 0.125 * one + 0.875 * other, atol=1e-6)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a=1.keras", "b.keras", "c.keras"]


def test_other_networks_and_too_few_of_them_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    saved(tmp_path / "a.keras", 1)
    saved(tmp_path / "wide.keras", 2, width=5)
    a, out = str(tmp_path / "a.keras"), str(tmp_path / "c.keras")
    for given, error, words in (
        ([a, str(tmp_path / "wide.keras")], ModelError, "is another network than"),
        ([a, str(tmp_path / "none.keras")], ModelError, "There is no Keras model"),
        ([a], ConfigError, "two models or more"),
    ):
        assert main(["average", *given, "-o", out]) == error("").exit_code
        assert words in capsys.readouterr().err
    assert main(["average", a, a, "-o", str(tmp_path / "c.onnx")]) == ConfigError("").exit_code
    assert "must end in .keras" in capsys.readouterr().err
    for share in ("0", "-1", "nan", "inf", "half"):
        assert main(["average", a, f"{a}={share}", "-o", out]) == ConfigError("").exit_code
        assert "with a share above 0" in capsys.readouterr().err
    assert not (tmp_path / "c.keras").exists()
