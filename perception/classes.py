"""The 19 Cityscapes train classes: the project's own label set, and the default of every model.

Order, names, colours and the thing/stuff division are those of the Cityscapes benchmark
(Cordts et al. 2016, "The Cityscapes Dataset for Semantic Urban Scene Understanding").
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from perception.errors import ConfigError
from perception.types import VOID


@dataclass(frozen=True, slots=True)
class SemanticClass:
    """One row of a class table. ``color`` is (red, green, blue)."""

    id: int
    name: str
    color: tuple[int, int, int]
    is_thing: bool


@dataclass(frozen=True, slots=True)
class ClassTable:
    """The classes of a model, by ascending id.

    Raises:
        ConfigError: an id is repeated, out of 0..254, or a colour is not three bytes.
    """

    rows: tuple[SemanticClass, ...]

    def __post_init__(self) -> None:
        ids = [row.id for row in self.rows]
        if sorted(set(ids)) != ids or any(not 0 <= i < VOID for i in ids):
            raise ConfigError(f"Class ids must ascend, be unique and lie in 0..{VOID - 1}; got {ids}.")
        for row in self.rows:
            if len(row.color) != 3 or any(not 0 <= c <= 255 for c in row.color):
                raise ConfigError(f"Colour of class {row.name!r} must be three values in 0..255, got {row.color}.")

    def __len__(self) -> int:
        return len(self.rows)

    def name(self, class_id: int) -> str:
        """The name of a class, ``void`` for 255, ``class N`` for an id that is not in the table."""
        found = [row.name for row in self.rows if row.id == class_id]
        return found[0] if found else "void" if class_id == VOID else f"class {class_id}"

    def thing_ids(self) -> tuple[int, ...]:
        """Ids of the countable classes, those that can be separated into objects."""
        return tuple(row.id for row in self.rows if row.is_thing)

    def palette_bgr(self) -> npt.NDArray[np.uint8]:
        """(256, 3) u8 table from class id to BGR colour; void and unknown ids are black."""
        palette = np.zeros((256, 3), np.uint8)
        for row in self.rows:
            palette[row.id] = row.color[::-1]
        return palette

    def fingerprint(self) -> str:
        """A short text that changes when the table changes: the header's ``classes`` field."""
        text = ";".join(f"{r.id},{r.name},{r.color},{int(r.is_thing)}" for r in self.rows)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def to_wire(self) -> list[dict[str, object]]:
        """The table as the ``classes`` field of a ``meta`` message."""
        return [{"id": r.id, "name": r.name, "color": list(r.color), "is_thing": r.is_thing} for r in self.rows]


def table_from_rows(rows: Sequence[tuple[str, tuple[int, int, int], bool]]) -> ClassTable:
    """A class table with ids 0, 1, ... in the order given."""
    return ClassTable(tuple(SemanticClass(i, *row) for i, row in enumerate(rows)))


CITYSCAPES = table_from_rows(
    [
        ("road", (128, 64, 128), False),
        ("sidewalk", (244, 35, 232), False),
        ("building", (70, 70, 70), False),
        ("wall", (102, 102, 156), False),
        ("fence", (190, 153, 153), False),
        ("pole", (153, 153, 153), False),
        ("traffic light", (250, 170, 30), False),
        ("traffic sign", (220, 220, 0), False),
        ("vegetation", (107, 142, 35), False),
        ("terrain", (152, 251, 152), False),
        ("sky", (70, 130, 180), False),
        ("person", (220, 20, 60), True),
        ("rider", (255, 0, 0), True),
        ("car", (0, 0, 142), True),
        ("truck", (0, 0, 70), True),
        ("bus", (0, 60, 100), True),
        ("train", (0, 80, 100), True),
        ("motorcycle", (0, 0, 230), True),
        ("bicycle", (119, 11, 32), True),
    ]
)

# Train id -> label id, as in the Cityscapes label definition: what its files hold.
LABEL_IDS: tuple[int, ...] = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
