"""The settings of a training run; this module loads neither Keras nor OpenCV."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from perception.errors import ConfigError
from perception.types import Size

Width = Literal["small", "medium", "large"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FitConfig:
    """One training run; every field has a flag of the same name."""

    out: Path
    width: Width = "large"
    encoder: str = "lite0"
    encoder_weights: Path | None = None  # PyTorch state dict; None trains from scratch
    initial_weights: Path | None = None  # a .keras model to start from instead
    epochs: int = 100
    steps: int = 50  # batches an epoch
    batch: int = 8
    crop: Size = (512, 384)
    rate: float = 2e-3
    encoder_rate: float = 0.25
    decay: float = 0.05
    ema: float = 0.998
    hard_share: float = 0.35
    dice: float = 0.2
    lovasz: float = 0.0  # weight of the Lovász-softmax term
    weight_power: float = 0.25  # of the inverse class frequency
    precision: str = "float32"  # or mixed_bfloat16
    workers: int = 2
    seed: int = 1
    evaluate_every: int = 5

    def __post_init__(self) -> None:
        if self.width not in get_args(Width):
            raise ConfigError(f"There is no width {self.width!r}; there are {', '.join(get_args(Width))}.")
        for name in ("epochs", "steps", "batch", "workers", "evaluate_every"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, got {getattr(self, name)}.")
        for name in ("rate", "encoder_rate", "decay", "dice", "lovasz", "weight_power"):
            value = getattr(self, name)
            if not 0 <= value < math.inf or (name == "rate" and not value):
                raise ConfigError(
                    f"{name} must be a finite number {'above' if name == 'rate' else 'from'} 0, got {value}."
                )
        if not 0 <= self.ema < 1:
            raise ConfigError(f"ema must lie in [0, 1), got {self.ema}.")
        if not 0 <= self.seed < 2**32:
            raise ConfigError(f"seed must lie in 0..{2**32 - 1}, got {self.seed}.")
        if any(side < 64 or side % 32 for side in self.crop):
            raise ConfigError(f"crop sides must be multiples of 32 and at least 64, got {self.crop}.")
        if not 0 < self.hard_share <= 1:
            raise ConfigError(f"hard_share must lie in (0, 1], got {self.hard_share}.")
        if self.precision not in ("float32", "mixed_bfloat16"):
            raise ConfigError(f"precision must be float32 or mixed_bfloat16, got {self.precision!r}.")

    def to_json(self) -> dict[str, Any]:
        """The configuration as plain values."""
        return {k: str(v) if isinstance(v, Path) else v for k, v in asdict(self).items()}
