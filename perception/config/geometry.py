"""Settings that describe what a camera sees: its calibration, and polygons in its picture."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import cast

from perception.config.rules import LARGEST_SIDE, Rule, nearest
from perception.config.toml_file import read_toml
from perception.errors import ConfigError
from perception.types import Size

Polygon = tuple[tuple[float, float], ...]  # x, y as fractions of width and height

DISTORTION_LENGTHS = (0, 4, 5, 8, 12, 14)  # of OpenCV's vector k1 k2 p1 p2 k3 ...
_CALIBRATION_WANTED = (
    "a table with k = [fx, fy, cx, cy] in pixels or its three rows, and where they are known "
    "distortion = [k1, k2, p1, p2, ...], size = [width, height] that k is meant for, and "
    "mount = {translation = [x, y, z], rotation = [roll, pitch, yaw]}; or the name of a TOML file with these"
)
_POLYGON_WANTED = (
    "a box [x0, y0, x1, y1] or a polygon of at least three corners [[x, y], ...], as fractions 0..1 of width and height"
)


@dataclass(frozen=True, slots=True)
class Calibration:
    """A pinhole camera as it was calibrated; the node hands it on and does not use it.

    ``mount`` says where the camera is in the vehicle: ``translation`` x forward, y left, z up in metres,
    ``rotation`` roll, pitch, yaw in degrees.
    """

    k: tuple[tuple[float, float, float], ...]  # 3 x 3, pixels
    distortion: tuple[float, ...] = ()  # in OpenCV's order
    size: Size | None = None  # (w, h) of the pictures that k is meant for
    mount: Mapping[str, tuple[float, ...]] | None = None

    def to_wire(self) -> dict[str, object]:
        """As ``meta`` carries it."""
        return {
            "k": [list(row) for row in self.k],
            "distortion": list(self.distortion),
            "mount": None if self.mount is None else {name: list(values) for name, values in self.mount.items()},
            **({} if self.size is None else {"size": list(self.size)}),
        }


def calibration() -> Rule:
    """A Calibration, from a table or the name of a TOML file."""

    def check(value: object) -> object:
        if value is None or isinstance(value, Calibration):
            return value
        if isinstance(value, str):
            return _calibration_file(value)
        return _calibration(value)

    return Rule(_CALIBRATION_WANTED, _calibration_file, check)


def polygon() -> Rule:
    """A Polygon of at least three corners; a box is one of four."""

    def check(value: object) -> object:
        return None if value is None else _polygon(value)

    return Rule(_POLYGON_WANTED, lambda text: _polygon(_numbers_in(text)), check)


def polygon_or_file() -> Rule:
    """A Polygon, or the name of an image."""

    def check(value: object) -> object:
        return value if value is None or (isinstance(value, str) and value) else _polygon(value)

    def read(text: str) -> object:
        try:
            numbers = _numbers_in(text)
        except ValueError:
            return check(text)
        return _polygon(numbers)

    return Rule(f"the name of an image that is bright where the vehicle is, {_POLYGON_WANTED}", read, check)


def _calibration_file(name: str) -> Calibration:
    table = read_toml(name, "calibration")
    try:
        return _calibration(table)
    except (TypeError, ValueError):
        raise ConfigError(f"The calibration {name!r} must be {_CALIBRATION_WANTED}.") from None


def _calibration(value: object) -> Calibration:
    if not isinstance(value, Mapping):
        raise TypeError
    for key in value:
        if key not in ("k", "distortion", "size", "mount"):
            known = ("k", "distortion", "size", "mount")
            raise ConfigError(f"A calibration has no {key!r}. {nearest(str(key), known)}")
    distortion = _floats(value.get("distortion", []))
    if len(distortion) not in DISTORTION_LENGTHS:
        raise ValueError
    return Calibration(_matrix(value.get("k", [])), distortion, _size(value), _mount(value))


def _matrix(value: object) -> tuple[tuple[float, float, float], ...]:
    rows = list(cast("Iterable[object]", value))
    if len(rows) == 4:
        fx, fy, cx, cy = _floats(rows)
        rows = [(fx, 0.0, cx), (0.0, fy, cy), (0.0, 0.0, 1.0)]
    first, second, third = (_floats(row, 3) for row in rows)
    if first[0] <= 0 or second[1] <= 0 or list(third) != [0.0, 0.0, 1.0]:
        raise ValueError
    return cast("tuple[tuple[float, float, float], ...]", (first, second, third))


def _size(value: Mapping[str, object]) -> Size | None:
    if "size" not in value:
        return None
    width, height = _floats(value["size"], 2)
    if not (0 < width <= LARGEST_SIDE and 0 < height <= LARGEST_SIDE and width % 1 == height % 1 == 0):
        raise ValueError
    return int(width), int(height)


def _mount(value: Mapping[str, object]) -> Mapping[str, tuple[float, ...]] | None:
    mount = value.get("mount")
    if mount is None:
        return None
    if not isinstance(mount, Mapping) or set(mount) != {"translation", "rotation"}:
        raise ValueError
    return {name: _floats(mount[name], 3) for name in ("translation", "rotation")}


def _floats(values: object, count: int | None = None) -> tuple[float, ...]:
    found = []
    for value in cast("Iterable[object]", values):
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            raise ValueError
        found.append(float(value))
    if count is not None and len(found) != count:
        raise ValueError
    return tuple(found)


def _polygon(value: object) -> Polygon:
    entries = list(cast("Iterable[object]", value))
    if any(isinstance(entry, (list, tuple)) for entry in entries):
        points = [_floats(entry, 2) for entry in entries]
    else:
        numbers = _floats(entries)
        if len(numbers) == 4:
            x0, y0, x1, y1 = numbers
            if not (x0 < x1 and y0 < y1):
                raise ValueError
            numbers = (x0, y0, x1, y0, x1, y1, x0, y1)
        if len(numbers) % 2:
            raise ValueError
        points = list(zip(numbers[::2], numbers[1::2]))
    if len(points) < 3 or any(not 0 <= coordinate <= 1 for point in points for coordinate in point):
        raise ValueError
    return tuple((x, y) for x, y in points)


def _numbers_in(text: str) -> list[float]:
    return [float(number) for number in text.split(",")]
