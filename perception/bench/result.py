"""What a benchmark leaves behind: one JSON object, written whole or not at all, and read with suspicion."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from perception.errors import RequestError, SourceError
from perception.files import write_whole
from perception.metrics import rounded

SCHEMA = "roadcast-bench"
VERSION = 1

Figures = Mapping[str, Any]  # a tree whose leaves are numbers, or None for what could not be told
# What a result must hold to be compared: keys, and what lies under them.
_PARTS: Mapping[str, type] = {"machine": dict, "software": dict, "clip": dict, "settings": dict, "rounds": list}


def medians(rounds: Sequence[Figures]) -> dict[str, Any]:
    """The median of every figure over the rounds that tell it, in the shape of one round."""
    keys = dict.fromkeys(key for figures in rounds for key in figures)
    return {key: _median([figures[key] for figures in rounds if figures.get(key) is not None]) for key in keys}


def _median(values: Sequence[Any]) -> Any:
    if not values:
        return None
    return medians(values) if isinstance(values[0], Mapping) else statistics.median(values)


def look_up(figures: Figures, path: str) -> float | None:
    """The figure at ``node.latency_ms.p99``; None where there is none."""
    found: Any = figures
    for key in path.split("."):
        found = found.get(key) if isinstance(found, Mapping) else None
    return float(found) if isinstance(found, (int, float)) else None


def to_text(result: Mapping[str, Any]) -> str:
    """The result as JSON, figures to a millionth: what lies behind that is chance."""
    return json.dumps(rounded(result, 6), indent=1, allow_nan=False) + "\n"


def write(path: Path, result: Mapping[str, Any]) -> None:
    """Write the result; a file of that name is replaced only by a whole one. Raises OutputError."""
    write_whole(path, to_text(result))


def read(path: Path) -> dict[str, Any]:
    """A result from its file, of whatever version.

    Raises:
        RequestError: there is no such file, or it is no result of a benchmark.
        SourceError: it cannot be read.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise RequestError(f"There is no {str(path)!r}. Give a file that 'roadcast bench --out' wrote.") from None
    except IsADirectoryError:
        raise RequestError(f"{str(path)!r} is a folder. Give a file that 'roadcast bench --out' wrote.") from None
    except OSError as error:
        raise SourceError(f"Cannot read {str(path)!r}: {error.strerror or error}.") from None
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as error:  # neither text nor JSON, or an endless number
        raise RequestError(f"{str(path)!r} is not JSON ({error}). Give a file of 'roadcast bench --out'.") from None
    if not isinstance(found, dict) or found.get("schema") != SCHEMA:
        raise RequestError(
            f"{str(path)!r} is no result of 'roadcast bench': its 'schema' is not {SCHEMA!r}. Measure again with --out."
        )
    for key, kind in _PARTS.items():
        if not isinstance(found.get(key), kind):
            raise RequestError(f"{str(path)!r} lacks {key!r}, or holds something else there. Measure again with --out.")
    return found
