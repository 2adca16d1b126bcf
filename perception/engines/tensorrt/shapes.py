"""The input shapes that an engine is compiled for: smallest, most common and largest."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from perception.engines.engine import ModelSpec
from perception.errors import ConfigError, ModelError
from perception.types import Size

COMMON_CAMERA: Size = (1280, 720)  # for whose frames a dynamic model is compiled when nobody names a size
LARGEST_SIDE = 8192
LARGEST_BATCH = 64


@dataclass(frozen=True, slots=True)
class Shapes:
    """Ranges of one engine, each (smallest, most common, largest)."""

    batch: tuple[int, int, int]
    size: tuple[Size, Size, Size]  # (w, h)

    @property
    def fixed_size(self) -> Size | None:
        """The one (w, h) that fits; None where several do."""
        return self.size[0] if self.size[0] == self.size[2] else None

    @property
    def fixed_batch(self) -> int | None:
        """The one batch that fits; None where several do."""
        return self.batch[0] if self.batch[0] == self.batch[2] else None

    def frames(self) -> list[tuple[int, int, int, int]]:
        """The three input shapes (N, H, W, 3)."""
        return [(count, height, width, 3) for count, (width, height) in zip(self.batch, self.size)]

    def holds(self, shape: tuple[int, ...]) -> bool:
        """Whether an input of shape (N, H, W, 3) lies within the ranges."""
        lowest, _, highest = self.frames()
        return all(low <= length <= high for low, length, high in zip(lowest, shape, highest))

    def __str__(self) -> str:
        counts = str(self.batch[0]) if self.fixed_batch else f"{self.batch[0]}..{self.batch[2]}"
        sizes = [f"{width}x{height}" for width, height in self.size]
        return f"{counts} x {sizes[0] if self.fixed_size else f'{sizes[0]}..{sizes[2]}'}"

    def flags(self) -> str:
        """As the flags of ``roadcast engine build`` that ask for these shapes."""
        sizes = [f"{width}x{height}" for width, height in self.size]
        counts = [str(count) for count in self.batch]
        return f"--size {_short(sizes)} --batch {_short(counts)}"

    def to_json(self) -> dict[str, Any]:
        """As it stands in a passport."""
        return {"batch": list(self.batch), "size": [list(size) for size in self.size]}

    @staticmethod
    def from_json(found: Any) -> Shapes:
        """The reverse of ``to_json``. Raises ValueError, TypeError or KeyError for anything else."""
        low, common, high = (int(count) for count in found["batch"])
        sizes = [(int(width), int(height)) for width, height in found["size"]]
        return Shapes((low, common, high), (sizes[0], sizes[1], sizes[2]))


def _short(values: list[str]) -> str:
    return values[0] if len(set(values)) == 1 else ",".join(values)


def choose_shapes(spec: ModelSpec, size: str | None, batch: str | None) -> Shapes:
    """The shapes to compile a model for.

    Args:
        size: ``WxH``, or the smallest, most common and largest as ``WxH,WxH,WxH``; None for what suits a camera of
            1280x720 at the model's pixel budget.
        batch: ``N`` or ``MIN,OPT,MAX``; None for 1, or the model's own.

    Raises:
        ConfigError: a text that means no shapes, or a size that is no multiple of what the model wants.
        ModelError: the model has a fixed size or batch, and it is another.
    """
    sizes = (spec.network_size(COMMON_CAMERA),) * 3 if size is None else _read_sizes(size)
    for width, height in sizes:
        if spec.fixed_size is None and (width % spec.multiple or height % spec.multiple):
            raise ConfigError(
                f"--size must be in multiples of {spec.multiple} for the model {spec.id!r}; got {width}x{height}."
            )
    if spec.fixed_size is not None and any(one != spec.fixed_size for one in sizes):
        wanted = "x".join(map(str, spec.fixed_size))
        raise ModelError(f"The model {spec.id!r} takes frames of {wanted} only; --size asks for {size}.")
    counts = (spec.batch or 1,) * 3 if batch is None else _read_batch(batch)
    if spec.batch is not None and any(count != spec.batch for count in counts):
        raise ModelError(f"The model {spec.id!r} takes batches of {spec.batch} only; --batch asks for {batch}.")
    return Shapes(counts, sizes)


def _read_sizes(text: str) -> tuple[Size, Size, Size]:
    found = [re.fullmatch(r"(\d{1,4})[xX](\d{1,4})", part.strip()) for part in text.split(",")]
    sizes = [(int(one[1]), int(one[2])) for one in found if one]
    if len(sizes) != len(found) or any(not 0 < side <= LARGEST_SIDE for size in sizes for side in size):
        raise ConfigError(f"--size must be WIDTHxHEIGHT or three of them with commas, as 576x320; got {text!r}.")
    small, common, large = _three(sizes, "--size", text)
    for axis in (0, 1):
        if not small[axis] <= common[axis] <= large[axis]:
            raise ConfigError(f"--size must name the smallest, the most common and the largest size; got {text!r}.")
    return small, common, large


def _read_batch(text: str) -> tuple[int, int, int]:
    if not re.fullmatch(r"\d+(,\d+)*", text.replace(" ", "")):
        raise ConfigError(f"--batch must be a number of frames, or three as 1,1,4; got {text!r}.")
    low, common, high = _three([int(part) for part in text.split(",")], "--batch", text)
    if not 1 <= low <= common <= high <= LARGEST_BATCH:
        raise ConfigError(
            f"--batch must name the smallest, most common and largest batch, 1 to {LARGEST_BATCH}; got {text!r}."
        )
    return low, common, high


def _three(values: list[Any], flag: str, text: str) -> tuple[Any, Any, Any]:
    if len(values) == 1:
        values = values * 3
    if len(values) != 3:
        raise ConfigError(f"{flag} takes one value, or smallest, most common and largest; got {text!r}.")
    return values[0], values[1], values[2]
