"""The settings of a training run; this module loads neither Keras nor OpenCV."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from perception.config.rules import Rule, checked, number, one_of, switch, text, whole
from perception.errors import ConfigError
from perception.types import Size
from training.models.names import Head, Network

Width = Literal["small", "medium", "large"]
Precision = Literal["float32", "mixed_bfloat16"]

_SMALLEST_RATE = 1e-9


def _expanded(value: str) -> str:
    """``~`` and ``$NAME`` filled in, so that a recipe fits every machine. Raises ConfigError for an unset variable."""
    full = os.path.expandvars(os.path.expanduser(value))  # noqa: PTH111 - '~' may stand after 'kind:' as well
    unset = re.search(r"\$\{?([A-Za-z_]\w*)\}?", full)
    if unset:
        name = unset.group(1)
        raise ConfigError(f"{value!r} names the variable {name}, which is not set: set it, or give the path in full.")
    return full


def _path(wanted: str, *, optional: bool = True) -> Rule:
    def check(value: object) -> object:
        if value is None and optional:
            return None
        if not isinstance(value, (str, Path)) or not str(value):
            raise ValueError
        return Path(_expanded(str(value)))

    return Rule(wanted, check, check)


def _datasets(wanted: str) -> Rule:
    def check(value: object) -> object:
        if not isinstance(value, (list, tuple)) or not all(isinstance(part, str) for part in value):
            raise TypeError
        return tuple(_expanded(part) for part in value)

    return Rule(wanted, lambda line: check(line.split(",")), check)


def _crop() -> Rule:
    def check(value: object) -> object:
        if isinstance(value, str):
            found = re.fullmatch(r"(\d+)x(\d+)", value)
            value = found and tuple(map(int, found.groups()))
        if not isinstance(value, (list, tuple)) or len(value) != 2:
            raise ValueError
        if any(isinstance(side, bool) or not isinstance(side, int) or side < 64 or side % 32 for side in value):
            raise ValueError
        return tuple(value)

    return Rule("WIDTHxHEIGHT with sides in multiples of 32, at least 64", check, check)


_DATA = "a list of data sets, each KIND:DIR[:SPLIT]"
_WEIGHT = number(0, 1e6)
# Every setting, in the order of the fields of FitConfig.
RULES: Mapping[str, Rule] = {
    "out": _path("the folder of the run", optional=False),
    "data": _datasets(f"{_DATA}[=WEIGHT]"),
    "score": _datasets(_DATA),
    "network": one_of(*get_args(Network)),
    "width": one_of(*get_args(Width)),
    "encoder": text("the name of an encoder, such as lite0", r"\w+"),
    "encoder_weights": _path("a file of pretrained weights"),
    "initial_weights": _path("a .keras model"),
    "head": one_of("none", *get_args(Head)),
    "trunk": one_of("frozen", "learns"),
    "head_weight": number(1e-6, 1e6),
    "epochs": whole(1, 10**6),
    "steps": whole(1, 10**7),
    "batch": whole(1, 4096),
    "crop": _crop(),
    "rate": number(_SMALLEST_RATE, 1e3),
    "encoder_rate": _WEIGHT,
    "decay": _WEIGHT,
    "ema": number(0, 1 - 1e-9),
    "hard_share": number(1e-6, 1),
    "cross_entropy": _WEIGHT,
    "dice": _WEIGHT,
    "lovasz": _WEIGHT,
    "weighting": one_of("power", "median", "log"),
    "weight_power": _WEIGHT,
    "border": number(0, 15.9),
    "border_sigma": number(0.1, 100),
    "teacher": _path("a .keras model"),
    "teacher_weight": _WEIGHT,
    "temperature": number(0.1, 100),
    "precision": one_of(*get_args(Precision)),
    "devices": whole(1, 64),
    "workers": whole(1, 256),
    "seed": whole(0, 2**32 - 1),
    "evaluate_every": whole(1, 10**6),
    "tensorboard": switch(),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FitConfig:
    """One training run; every field has a flag, a key in a recipe and a variable of the same name.

    Raises:
        ConfigError: a value does not fit its setting.
    """

    out: Path
    data: tuple[str, ...] = ()
    score: tuple[str, ...] = ()  # data sets that a model in training is scored on
    network: Network = "light"
    width: Width = "large"
    encoder: str = "lite0"  # of the network "light"
    encoder_weights: Path | None = None  # ImageNet weights; None trains from scratch
    initial_weights: Path | None = None  # a .keras model to start from instead
    head: Literal["none"] | Head = "none"  # what tells objects apart, on the trunk of initial_weights
    trunk: Literal["frozen", "learns"] = "frozen"  # below a head: it stays as it is, or learns its labels on
    head_weight: float = 0.3  # of the head's loss beside that of the labels, where the trunk learns
    epochs: int = 100
    steps: int = 50  # batches an epoch
    batch: int = 8
    crop: Size = (512, 384)
    rate: float = 2e-3
    encoder_rate: float = 0.25
    decay: float = 0.05
    ema: float = 0.998
    hard_share: float = 0.35  # of the pixels, which the cross-entropy is taken over: the hardest
    cross_entropy: float = 1.0  # weights of the terms of the loss
    dice: float = 0.2
    lovasz: float = 0.0
    weighting: Literal["power", "median", "log"] = "power"  # how class weights come from class frequencies
    weight_power: float = 0.25  # of the inverse class frequency, for "power"
    border: float = 0.0  # weight between objects that stand close together (U-Net's w0, there 10)
    border_sigma: float = 5.0  # pixels of the label map
    teacher: Path | None = None  # a .keras model whose answers are learnt as well
    teacher_weight: float = 1.0
    temperature: float = 2.0  # by which the logits of teacher and student are divided
    precision: Precision = "float32"  # of the training steps; weights, scores and the saved model are float32
    devices: int = 1  # of this machine, each with its share of every batch
    workers: int = 2
    seed: int = 1
    evaluate_every: int = 5
    tensorboard: bool = False

    def __post_init__(self) -> None:
        for name, rule in RULES.items():
            object.__setattr__(self, name, checked(rule.check, getattr(self, name), rule, name))
        if self.batch % self.devices:
            raise ConfigError(f"A batch of {self.batch} cannot be shared evenly by {self.devices} devices.")
        if not (self.cross_entropy or self.dice or self.lovasz):
            raise ConfigError("One of cross_entropy, dice and lovasz must be above 0: there is nothing to learn from.")
        if self.encoder_weights is not None and self.initial_weights is not None:
            raise ConfigError("Give encoder_weights or initial_weights, not both: a run starts from one of them.")

        if self.head != "none" and self.network != "light":
            raise ConfigError(f"The head {self.head!r} stands on the network light; {self.network} takes none.")
        if self.head != "none" and self.initial_weights is None:
            raise ConfigError(f"The head {self.head!r} needs initial_weights: a trained model for it to stand on.")
        if self.trunk == "learns" and self.head not in ("centre", "boundary"):
            raise ConfigError(f"trunk = 'learns' is for the heads centre and boundary; the head is {self.head!r}.")
        if self.head != "none" and self.teacher is not None:
            raise ConfigError(f"Beside the head {self.head!r} nothing learns from a teacher: leave out the teacher.")
        if self.trunk == "frozen" and self.head_weight != self.__dataclass_fields__["head_weight"].default:
            raise ConfigError("head_weight weighs the head against the labels: it needs trunk = 'learns'.")
        for name in ("teacher_weight", "temperature"):
            if self.teacher is None and getattr(self, name) != self.__dataclass_fields__[name].default:
                raise ConfigError(f"{name} needs teacher: the .keras model whose answers are to be learnt.")

    @property
    def head_or_none(self) -> Head | None:
        """The head as networks are built with it."""
        return None if self.head == "none" else self.head

    def to_json(self) -> dict[str, Any]:
        """What determines the result, as plain values; data sets stand for themselves (``Mixture.to_json``)."""
        values = {k: str(v) if isinstance(v, Path) else v for k, v in asdict(self).items()}
        return {k: v for k, v in values.items() if k not in ("data", "score")}
