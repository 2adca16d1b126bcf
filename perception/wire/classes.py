"""The class table inside a ``meta`` message."""

from __future__ import annotations

from typing import cast

from perception.classes import ClassTable, SemanticClass
from perception.errors import ConfigError, WireError
from perception.types import VOID
from perception.wire.fields import Fields


def classes_from_meta(meta: Fields) -> ClassTable:
    """The table under ``classes``. Raises WireError."""
    rows = []
    for value in meta.items("classes"):
        fields = Fields(value, "meta.classes")
        color = cast("tuple[int, int, int]", fields.integers("color", 3, 0, 255))
        rows.append(
            SemanticClass(fields.integer("id", 0, VOID - 1), fields.text("name"), color, fields.boolean("is_thing"))
        )
    try:
        return ClassTable(tuple(rows))
    except ConfigError as error:
        raise WireError(f"meta.classes: {error}") from error
