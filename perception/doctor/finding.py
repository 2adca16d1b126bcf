"""One part of a machine, examined."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Literal

Verdict = Literal["ok", "absent", "limited", "broken"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found of one part.

    ``absent`` is an optional part that is not there, ``limited`` works with a drawback, ``broken`` keeps a node from
    running or fails although it is installed.
    """

    part: str
    verdict: Verdict
    version: str | None
    detail: str  # one line
    remedy: str | None = None  # what to do; None where nothing needs doing


def examined(part: str, check: Callable[[], Finding]) -> Finding:
    """What ``check`` finds; whatever it raises is a finding, too, for nothing may hide the other parts."""
    try:
        return check()
    except Exception as error:
        first_line = (str(error).strip().splitlines() or [""])[0]
        said = f"{type(error).__name__}: {first_line}" if first_line else type(error).__name__
        return Finding(part, "broken", None, f"it does not load ({said})", "Install it again.")


def installed(*distributions: str) -> list[tuple[str, str]]:
    """Those of the distributions that pip has installed, with their versions."""
    found = []
    for name in distributions:
        try:
            found.append((name, version(name)))
        except PackageNotFoundError:
            continue
    return found
