"""What a dense CRF is told: one frozen value for the stage, the graph and the reference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from perception.errors import ConfigError

Refinement = Literal["crf", "crf-reference"]
REFINEMENTS: tuple[Refinement, ...] = get_args(Refinement)
CARD_KEY = "roadcast.refine"  # of a model whose graph refines already
WEIGHT = 16.0  # for networks that are coarse along edges
TILE = 16  # map pixels; a pixel hears from its own tile and the eight around it


@dataclass(frozen=True, slots=True)
class CrfSettings:
    """The appearance kernel of Krähenbühl and Koltun 2011, section 3, and how often it is applied.

    Defaults were chosen on CamVid's training frames (docs/refinement.md).

    Raises:
        ConfigError: a value is out of its range.
    """

    spread: float = 25.0  # theta_alpha, map pixels
    colour: float = 7.0  # theta_beta, grey levels of 0..255 in each of the three channels
    weight: float = WEIGHT  # w1: how much a unanimous neighbourhood adds to a class's logit
    rounds: int = 5  # of mean field; the last one gives the answer
    tile: int = TILE  # map pixels, even

    def __post_init__(self) -> None:
        if not (0.1 <= self.spread <= 1000 and 0.1 <= self.colour <= 1000 and 0 <= self.weight <= 1000):
            raise ConfigError(
                "A CRF's spread and colour lie in 0.1..1000 and its weight in 0..1000, got "
                f"{self.spread}, {self.colour} and {self.weight}."
            )
        if not 1 <= self.rounds <= 50 or self.tile not in (2, 4, 8, 16, 32):
            raise ConfigError(
                f"A CRF takes 1..50 rounds and tiles of 2, 4, 8, 16 or 32 pixels, got {self.rounds} and {self.tile}."
            )
