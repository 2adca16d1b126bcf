"""What can be drawn, and how a user chooses among it."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Literal, get_args

from perception.classes import CITYSCAPES, ClassTable
from perception.errors import ConfigError

Layer = Literal["labels", "outlines", "boxes", "names", "legend", "stats"]
LAYERS: tuple[Layer, ...] = get_args(Layer)


@dataclass(frozen=True, slots=True)
class Style:
    """How pictures are drawn.

    ``alpha`` is how much of the class colour covers the frame, 0..1. Objects of a score below ``min_score`` are not
    drawn: a node publishes what it doubts as well.

    Raises:
        ConfigError: ``alpha`` lies outside 0..1.
    """

    table: ClassTable = CITYSCAPES
    layers: frozenset[Layer] = frozenset(LAYERS)
    alpha: float = 0.45
    min_score: float = 0.3

    def __post_init__(self) -> None:
        if not 0 <= self.alpha <= 1:
            raise ConfigError(f"alpha must lie in 0..1, got {self.alpha}. 0 leaves the frame as it is, 1 hides it.")


def layers_from_text(text: str) -> frozenset[Layer]:
    """The layers named in a comma-separated list.

    Raises:
        ConfigError: a name is unknown, or none is given.
    """
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise ConfigError(f"No layer was named. Choose among {', '.join(LAYERS)}.")
    for name in names:
        if name not in LAYERS:
            near = difflib.get_close_matches(name, LAYERS, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise ConfigError(f"There is no layer {name!r}; the layers are {', '.join(LAYERS)}.{hint}")
    return frozenset(layer for layer in LAYERS if layer in names)
