"""Checked reading of maps that came from outside: every surprise is a WireError that names the key."""

from __future__ import annotations

import math
from typing import Any

from perception.errors import WireError

INT_MAX = 2**63 - 1


class Fields:
    """One decoded map. Unknown keys are never looked at; an integer is accepted where a float is meant."""

    __slots__ = ("_map", "_where")

    def __init__(self, value: object, where: str) -> None:
        if not isinstance(value, dict):
            raise WireError(f"{where} must be a map, got {_kind_of(value)}.")
        self._map: dict[Any, Any] = value
        self._where = where

    def value(self, key: str) -> Any:
        """Whatever is stored under ``key``, None where it is absent."""
        return self._map.get(key)

    def has(self, key: str) -> bool:
        """Whether ``key`` is there and not nil."""
        return self._map.get(key) is not None

    def integer(self, key: str, low: int = 0, high: int = INT_MAX) -> int:
        value = self._map.get(key)
        if type(value) is not int or not low <= value <= high:
            raise self._wrong(key, f"an integer in {low}..{high}")
        return value

    def optional_integer(self, key: str, low: int = -INT_MAX) -> int | None:
        return self.integer(key, low) if self.has(key) else None

    def boolean(self, key: str) -> bool:
        value = self._map.get(key)
        if type(value) is not bool:
            raise self._wrong(key, "true or false")
        return value

    def text(self, key: str, longest: int = 256) -> str:
        value = self._map.get(key)
        if type(value) is not str or len(value) > longest:
            raise self._wrong(key, f"text of at most {longest} characters")
        return value

    def binary(self, key: str, size: int) -> bytes:
        value = self._map.get(key)
        if type(value) is not bytes or len(value) != size:
            raise self._wrong(key, f"{size} bytes")
        return value

    def integers(self, key: str, count: int, low: int, high: int) -> tuple[int, ...]:
        value = self._map.get(key)
        if (
            type(value) is not list
            or len(value) != count
            or any(type(v) is not int or not low <= v <= high for v in value)
        ):
            raise self._wrong(key, f"{count} integers in {low}..{high}")
        return tuple(value)

    def number(self, key: str) -> float:
        return self._finite(key, self._map.get(key))

    def floats(self, key: str, count: int) -> tuple[float, ...]:
        value = self._map.get(key)
        if type(value) is not list or len(value) != count:
            raise self._wrong(key, f"{count} numbers")
        return tuple(self._finite(key, v) for v in value)

    def items(self, key: str) -> list[Any]:
        value = self._map.get(key)
        if type(value) is not list:
            raise self._wrong(key, "a list")
        return value

    def submap(self, key: str) -> Fields:
        return Fields(self._map.get(key), f"{self._where}.{key}")

    def plain(self, key: str) -> dict[str, Any]:
        """The map under ``key`` as it is, with text keys."""
        value = self._map.get(key)
        if type(value) is not dict or any(type(k) is not str for k in value):
            raise self._wrong(key, "a map with text keys")
        return value

    def numbers(self, key: str) -> dict[str, float]:
        """The map under ``key``, every value a finite number that is not negative."""
        found = {name: self._finite(key, value) for name, value in self.plain(key).items()}
        if any(value < 0 for value in found.values()):
            raise self._wrong(key, "numbers that are not negative")
        return found

    def counts(self, key: str) -> dict[str, int]:
        """The map under ``key``, every value a count."""
        found = self.plain(key)
        if any(type(v) is not int or not 0 <= v <= INT_MAX for v in found.values()):
            raise self._wrong(key, "a map of counts")
        return found

    def _finite(self, key: str, value: object) -> float:
        if type(value) is int and -INT_MAX <= value <= INT_MAX:
            return float(value)
        if type(value) is not float or not math.isfinite(value):
            raise self._wrong(key, "finite numbers")
        return value

    def _wrong(self, key: str, wanted: str) -> WireError:
        return WireError(f"{self._where}: {key!r} must be {wanted}, got {_kind_of(self._map.get(key))}.")


def _kind_of(value: object) -> str:
    return (
        "nothing"
        if value is None
        else f"{type(value).__name__} {value!r:.60}"
        if not isinstance(value, (dict, list))
        else type(value).__name__
    )
