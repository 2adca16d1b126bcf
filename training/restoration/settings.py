"""The settings of a run that teaches a network to give a better picture back; loads neither Keras nor OpenCV."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast, get_args

from perception.config.layers import RESTORING_PREFIX
from perception.config.rules import Rule, checked, one_of, size, text, whole
from perception.errors import ConfigError
from perception.types import Size
from training.recipe import layered
from training.restoration.names import FACTORS, Loss, Network, Up
from training.settings import RULES as FIT_RULES
from training.settings import Precision

_ALIKE = ("epochs", "steps", "batch", "rate", "decay", "ema", "precision", "workers", "seed", "evaluate_every")


def _kinds() -> Rule:
    def check(value: object) -> object:
        if not isinstance(value, (list, tuple)) or not all(isinstance(name, str) for name in value):
            raise TypeError
        return tuple(value)

    return Rule("a list of degradations, such as gaussian", lambda line: check(line.split(",") if line else []), check)


# Every setting, in the order of the fields of RestoreConfig.
RULES: Mapping[str, Rule] = {
    **{name: FIT_RULES[name] for name in ("out", "data", "score")},
    "id": text("a name of letters, digits, '-' and '_'", r"[\w-]+"),
    "network": one_of(*get_args(Network)),
    "latent": whole(1, 65536),
    "up": one_of(*get_args(Up)),
    "degrade": _kinds(),
    "loss": one_of(*get_args(Loss)),
    "initial_weights": FIT_RULES["initial_weights"],
    "segmenter": FIT_RULES["teacher"],
    "segmenter_weight": FIT_RULES["teacher_weight"],
    "crop": size(),
    **{name: FIT_RULES[name] for name in _ALIKE},
}

# Settings that only some networks have.
_OF_NETWORKS: Mapping[str, tuple[Network, ...]] = {"latent": ("conv", "dense"), "up": ("conv",)}


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreConfig:
    """One run; every field has a flag, a key in a recipe and a variable of the same name.

    Raises:
        ConfigError: a value does not fit its setting, or two do not go together.
    """

    out: Path
    data: tuple[str, ...] = ()
    score: tuple[str, ...] = ()  # data sets whose frames are spoilt and restored as the run goes
    id: str = "restored"  # of the model that comes out
    network: Network = "denoise"
    latent: int = 64  # numbers, or channels, in the narrow place of an autoencoder
    up: Up = "resize"  # of the convolutional autoencoder
    degrade: tuple[str, ...] = ()  # how inputs are spoilt, each by one of these; without any they are the truth
    loss: Loss = "l1"
    initial_weights: Path | None = None  # a .keras model of the same network to start from
    segmenter: Path | None = None  # a .keras model that is to see the same in the picture as in the truth
    segmenter_weight: float = 10.0
    crop: Size = (160, 160)  # of the truth
    epochs: int = 20
    steps: int = 100  # batches an epoch
    batch: int = 8
    rate: float = 2e-3
    decay: float = 1e-4
    ema: float = 0.99
    precision: Precision = "float32"
    workers: int = 1
    seed: int = 1
    evaluate_every: int = 5

    def __post_init__(self) -> None:
        for name, rule in RULES.items():
            object.__setattr__(self, name, checked(rule.check, getattr(self, name), rule, name))
        step = 32 * self.factor
        if not isinstance(self.crop, tuple) or any(side % step for side in self.crop):
            found = "x".join(map(str, self.crop)) if isinstance(self.crop, tuple) else f"{self.crop}"
            raise ConfigError(
                f"crop must be WIDTHxHEIGHT in multiples of {step} for {self.network}, such as {3 * step}x{3 * step}, "
                f"got {found}."
            )
        if self.network == "dense" and self.crop[0] != self.crop[1]:
            raise ConfigError(f"The network dense takes square patches, got crop {self.crop[0]}x{self.crop[1]}.")

        for name, networks in _OF_NETWORKS.items():
            if self.network not in networks and getattr(self, name) != self.__dataclass_fields__[name].default:
                raise ConfigError(
                    f"{name} is of {' and '.join(networks)}; {self.network} has no use for it: leave it out."
                )
        if self.segmenter is None and self.segmenter_weight != self.__dataclass_fields__["segmenter_weight"].default:
            raise ConfigError("segmenter_weight needs segmenter: the .keras model that is to see the same.")

    @property
    def factor(self) -> int:
        """By how much the network enlarges."""
        return FACTORS.get(self.network, 1)

    def to_json(self) -> dict[str, Any]:
        """What determines the result, as plain values; data sets stand for themselves (``Mixture.to_json``)."""
        values = {k: str(v) if isinstance(v, Path) else v for k, v in asdict(self).items()}
        return {k: v for k, v in values.items() if k not in ("data", "score")}


def load_settings(
    flags: Mapping[str, str | Sequence[str]], *, file: str | None = None, environment: Mapping[str, str] | None = None
) -> RestoreConfig:
    """Defaults < recipe (TOML) < environment (``ROADCAST_RESTORE_EPOCHS=5``) < flags. Raises ConfigError."""
    variables = os.environ if environment is None else environment
    return RestoreConfig(**cast(Any, layered(RULES, flags, file=file, environment=variables, prefix=RESTORING_PREFIX)))
