"""The optimizer: its schedule, its two rates, its decay; and the settings of a run."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from perception.errors import ConfigError
from training.settings import FitConfig

keras = pytest.importorskip("keras", reason="training needs Keras and a backend")
optimizer_module = pytest.importorskip("training.optimizer")


def rate_at(schedule: Any, step: int) -> float:
    return float(keras.ops.convert_to_numpy(schedule(step)))


def test_the_schedule_rises_linearly_and_falls_as_half_a_cosine() -> None:
    schedule = optimizer_module.WarmupCosine(0.2, 110, warmup=10, floor=0.01)
    assert rate_at(schedule, 0) == 0
    assert rate_at(schedule, 5) == pytest.approx(0.1)
    assert rate_at(schedule, 10) == pytest.approx(0.2)
    assert rate_at(schedule, 60) == pytest.approx(0.2 * (0.01 + 0.99 / 2))
    assert rate_at(schedule, 110) == pytest.approx(0.002)
    assert rate_at(schedule, 10_000) == pytest.approx(0.002)
    again = optimizer_module.WarmupCosine(**schedule.get_config())
    assert rate_at(again, 60) == rate_at(schedule, 60)


def small_model() -> Any:
    frame = keras.Input((4, 4, 3))
    x = keras.layers.Conv2D(3, 1, name="encoder_conv", kernel_initializer="ones", bias_initializer="ones")(frame)
    x = keras.layers.DepthwiseConv2D(1, name="encoder_depth", depthwise_initializer="ones", use_bias=False)(x)
    x = keras.layers.BatchNormalization(name="decoder_bn")(x)
    x = keras.layers.Conv2D(3, 1, name="decoder_conv", kernel_initializer="ones", bias_initializer="ones")(x)
    return keras.Model(frame, x)


def steps_of(model: Any, gradient: float, *, decay: float, encoder_rate: float = 0.25) -> dict[str, np.ndarray]:
    """How far each variable moves in the second step (the first has a rate of 0)."""
    optimizer = optimizer_module.build_optimizer(rate=0.1, encoder_rate=encoder_rate, steps=40, ema=0.9, decay=decay)
    variables = model.trainable_variables
    optimizer.build(variables)
    gradients = [keras.ops.full(v.shape, gradient) for v in variables]
    optimizer.apply(gradients, variables)
    before = [v.numpy().copy() for v in variables]
    optimizer.apply(gradients, variables)
    return {v.path: v.numpy() - b for v, b in zip(variables, before)}


def test_the_encoder_learns_at_its_own_rate() -> None:
    steps = steps_of(small_model(), 0.01, decay=0.0)
    fast, slow = abs(steps["decoder_conv/kernel"]).mean(), abs(steps["encoder_conv/kernel"]).mean()
    assert fast > 0
    assert slow == pytest.approx(0.25 * fast, rel=1e-3)
    assert abs(steps["encoder_conv/bias"]).mean() == pytest.approx(slow, rel=1e-3)


def test_decay_shrinks_kernels_and_nothing_else() -> None:
    steps = steps_of(small_model(), 0.0, decay=0.5)
    shrunk = {path for path, step in steps.items() if (step < 0).all()}
    assert shrunk == {"encoder_conv/kernel", "encoder_depth/kernel", "decoder_conv/kernel"}
    assert all((step == 0).all() for path, step in steps.items() if path not in shrunk)


def test_the_optimizer_can_be_built_again_from_its_configuration() -> None:
    optimizer = optimizer_module.LayerwiseAdamW(0.1, encoder_rate=0.3)
    assert optimizer_module.LayerwiseAdamW.from_config(optimizer.get_config()).encoder_rate == 0.3


@pytest.mark.parametrize(
    "change",
    [
        {"width": "huge"},
        {"epochs": 0},
        {"steps": 0},
        {"batch": -1},
        {"workers": 0},
        {"evaluate_every": 0},
        {"crop": (100, 64)},
        {"crop": (32, 64)},
        {"hard_share": 0.0},
        {"hard_share": 1.5},
        {"precision": "float16"},
        {"rate": 0.0},
        {"rate": math.nan},
        {"decay": -0.1},
        {"encoder_rate": math.inf},
        {"ema": 1.0},
        {"seed": -1},
    ],
)
def test_impossible_settings_are_refused_by_name(change: dict[str, Any]) -> None:
    (name,) = change
    with pytest.raises(ConfigError, match=name):
        FitConfig(out=Path("run"), **change)


def test_settings_are_plain_values_in_json() -> None:
    config = FitConfig(out=Path("run"), encoder_weights=Path("w.pth"))
    fields = {field.name for field in dataclasses.fields(FitConfig)}
    assert set(config.to_json()) == fields - {"data", "score"}  # which are written as what they hold
    assert config.to_json()["out"] == "run"
    assert config.to_json()["initial_weights"] is None
