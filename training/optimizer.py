"""AdamW whose pretrained layers learn more slowly, and its schedule."""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

from training.settings import FitConfig

Tensor = Any


class WarmupCosine(keras.optimizers.schedules.LearningRateSchedule):  # type: ignore[misc]  # keras is untyped
    """Linear warm-up to ``peak``, then half a cosine down to ``peak * floor`` at ``steps``."""

    def __init__(self, peak: float, steps: int, *, warmup: int, floor: float = 0.01) -> None:
        self.peak, self.steps, self.warmup, self.floor = peak, steps, warmup, floor

    def __call__(self, step: Tensor) -> Tensor:
        step = ops.cast(step, "float32")
        rising = step / max(1, self.warmup)
        progress = ops.clip((step - self.warmup) / max(1, self.steps - self.warmup), 0.0, 1.0)
        falling = self.floor + (1 - self.floor) * 0.5 * (1 + ops.cos(math.pi * progress))
        return self.peak * ops.minimum(rising, falling)

    def get_config(self) -> dict[str, Any]:
        """What is needed to build this schedule again."""
        return {"peak": self.peak, "steps": self.steps, "warmup": self.warmup, "floor": self.floor}


class LayerwiseAdamW(keras.optimizers.AdamW):  # type: ignore[misc]  # keras is untyped
    """AdamW (Loshchilov & Hutter 2019) with the encoder's learning rate scaled by ``encoder_rate``.

    A pretrained encoder needs smaller steps than a decoder that starts from noise. Weight decay is not
    scaled: it is the same for all kernels.
    """

    def __init__(self, *args: Any, encoder_rate: float = 1.0, **options: Any) -> None:
        super().__init__(*args, **options)
        self.encoder_rate = encoder_rate

    def update_step(self, gradient: Tensor, variable: Any, learning_rate: Tensor) -> None:
        """One variable's update, at its own rate."""
        # TensorFlow hands in its own variable, which has no path; Keras' index knows both.
        slow = self._trainable_variables[self._get_variable_index(variable)].path.startswith("encoder_")
        super().update_step(gradient, variable, learning_rate * self.encoder_rate if slow else learning_rate)

    def get_config(self) -> dict[str, Any]:
        """What is needed to build this optimizer again."""
        return {**super().get_config(), "encoder_rate": self.encoder_rate}


def optimizer_of(config: FitConfig) -> LayerwiseAdamW:
    """The optimizer that the settings of a run ask for; its schedule ends with the run."""
    return build_optimizer(
        rate=config.rate,
        encoder_rate=config.encoder_rate,
        steps=config.epochs * config.steps,
        ema=config.ema,
        decay=config.decay,
    )


def build_optimizer(*, rate: float, encoder_rate: float, steps: int, ema: float, decay: float = 0.05) -> LayerwiseAdamW:
    """The optimizer of the recipes: warm-up, cosine, decoupled decay of kernels only, averaged weights.

    ``ema`` is the momentum of the exponential moving average that is evaluated and exported.
    """
    optimizer = LayerwiseAdamW(
        WarmupCosine(rate, steps, warmup=max(1, min(500, steps // 20))),
        weight_decay=decay,
        encoder_rate=encoder_rate,
        global_clipnorm=5.0,
        use_ema=True,
        ema_momentum=ema,
    )
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return optimizer
