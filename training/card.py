"""The model card: what a model file says of itself, inside the ONNX file and as JSON beside it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from perception.classes import CITYSCAPES, ClassTable
from perception.errors import ConfigError
from perception.files import write_whole
from perception.refinement.settings import CARD_KEY, WEIGHT

PRECISIONS = ("fp32", "fp16", "int8")


@dataclass(frozen=True, slots=True)
class ModelCard:
    """Identity, input rule and history of one exported model.

    ``facts`` are free: data, licence of the data, scores, date, command.

    Raises:
        ConfigError: no id, or a pixel budget smaller than the smallest frame.
    """

    id: str
    pixels: int  # default pixel budget of the network's input
    multiple: int = 32
    precision: str = "fp32"
    classes: ClassTable = CITYSCAPES
    instances: str | None = None  # how the graph tells objects apart: "centre", "boundary", None where it does not
    refine: str | None = None  # "crf": the graph refines its maps; "probabilities": it gives them, for a node that does
    refine_weight: float = WEIGHT  # of "crf"
    facts: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.id.strip():
            raise ConfigError("A model card needs an id.")
        if self.precision not in PRECISIONS:
            raise ConfigError(f"The precision must be one of {', '.join(PRECISIONS)}, got {self.precision!r}.")
        if self.multiple < 1 or self.pixels < self.multiple**2:
            raise ConfigError(f"The pixel budget must be at least {self.multiple**2}, got {self.pixels}.")

    def metadata(self) -> dict[str, str]:
        """The card as ONNX metadata: strings only."""
        separated = {} if self.instances is None else {"roadcast.instances": self.instances}
        refines = {CARD_KEY: self.refine} if self.refine == "crf" else {}
        return (
            separated
            | refines
            | {
                "roadcast.id": self.id,
                "roadcast.precision": self.precision,
                "roadcast.pixels": str(self.pixels),
                "roadcast.multiple": str(self.multiple),
                "roadcast.classes": json.dumps(self.classes.to_wire()),
                "roadcast.card": json.dumps(dict(self.facts)),
            }
        )


def write_card(card: ModelCard, model: Path) -> Path:
    """Write the card of an exported file beside it, as ``<model>.json`` with the file's sha256; return its path."""
    content = {
        "id": card.id,
        "file": model.name,
        "bytes": model.stat().st_size,
        "sha256": hashlib.sha256(model.read_bytes()).hexdigest(),
        "precision": card.precision,
        "pixels": card.pixels,
        "multiple": card.multiple,
        "classes": [row.name for row in card.classes.rows],
        **({} if card.instances is None else {"instances": card.instances}),
        **({} if card.refine is None else {"refine": card.refine}),
        **({} if card.refine != "crf" else {"refine_weight": card.refine_weight}),
        **card.facts,
    }
    path = model.with_suffix(".json")
    write_whole(path, json.dumps(content, indent=2) + "\n")
    return path
