"""Class tables as users write them, in TOML: what the channels of a foreign model mean.

[[class]]                 # in the order of the model's channels
name = "road"             # one of the 19 of Cityscapes brings its colour and kind with it
[[class]]
name = "tractor"
color = [200, 120, 0]     # red, green, blue
thing = true              # countable; false where it is left out
id = 19                   # in the label maps; its position where left out, 255 for void
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from perception.classes import CITYSCAPES, ClassTable, SemanticClass
from perception.config.rules import nearest
from perception.config.toml_file import read_toml
from perception.errors import ConfigError
from perception.types import VOID

_KEYS = ("name", "color", "thing", "id")


@dataclass(frozen=True, slots=True)
class Channels:
    """The classes of a model, and the id that each of its channels stands for; channels may share one."""

    table: ClassTable
    ids: tuple[int, ...]


CITYSCAPES_CHANNELS = Channels(CITYSCAPES, tuple(row.id for row in CITYSCAPES.rows))


def read_channels(path: Path) -> Channels:
    """Read a class table.

    Raises:
        ConfigError: the file cannot be read, a key is unknown, or a class lacks its name or colour.
    """
    content = read_toml(str(path), "class table")
    rows = content.get("class")
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        raise ConfigError(f"{path} holds no classes: begin each with a line [[class]].")
    classes = [_row(row, position, path) for position, row in enumerate(rows)]
    by_id: dict[int, SemanticClass] = {}
    for row in classes:
        if by_id.setdefault(row.id, row) != row and row.id != VOID:
            raise ConfigError(f"{path}: the classes {by_id[row.id].name!r} and {row.name!r} have the id {row.id}.")
    known = tuple(by_id[found] for found in sorted(by_id) if found != VOID)
    return Channels(ClassTable(known), tuple(row.id for row in classes))


def _row(row: Mapping[str, Any], position: int, path: Path) -> SemanticClass:
    for key in row:
        if key not in _KEYS:
            raise ConfigError(f"{path}: class {position + 1}: there is no key {key!r}. {nearest(key, _KEYS)}")
    name, number = row.get("name"), row.get("id", position)
    known = next((known for known in CITYSCAPES.rows if known.name == name), None)
    color = row.get("color", known.color if known else None)
    if not isinstance(name, str) or not name:
        raise ConfigError(f"{path}: class {position + 1} has no name.")
    if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number <= VOID:
        raise ConfigError(f"{path}: the id of class {name!r} must be a whole number from 0 to {VOID}, got {number!r}.")
    if number == VOID:
        return SemanticClass(VOID, "void", (0, 0, 0), False)
    if not isinstance(color, (list, tuple)) or len(color) != 3 or not all(isinstance(c, int) for c in color):
        raise ConfigError(f"{path}: the class {name!r} needs a color = [red, green, blue].")
    thing = row.get("thing", known.is_thing if known else False)
    return SemanticClass(number, name, (color[0], color[1], color[2]), bool(thing))
