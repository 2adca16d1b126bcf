"""Batches of spoilt pictures and what they were, each determined by (seed, epoch, index).

This module is what a loader's worker process imports: numpy and OpenCV, no Keras.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np

from perception.types import Image, Size
from training.data.datasets import Pair, read_image
from training.data.degrade import Degradation, degradation, spoil_at_random
from training.data.mixture import open_parts
from training.data.samples import CACHE_BYTES, Batch, part_to_json

# A frame is learnt from at sizes between this share of its own and the whole: shrunk, it has finer detail for
# its pixels and less of its own noise.
_SMALLEST_SCALE = 0.6


@dataclass(frozen=True, slots=True)
class Pictures:
    """Data sets whose frames are learnt from, each as often as its weight says; labels are not looked at."""

    parts: tuple[tuple[Pair, ...], ...]
    weights: tuple[float, ...]

    def to_json(self) -> list[dict[str, Any]]:
        """What identifies each part."""
        return [part_to_json(part, weight) for part, weight in zip(self.parts, self.weights)]


def open_pictures(texts: Sequence[str]) -> Pictures:
    """Open data sets with labels or without. Raises as ``open_parts``."""
    return Pictures(*open_parts(texts, labelled=False))


@dataclass(frozen=True, slots=True)
class Task:
    """What is to be undone: frames shrunk by ``factor`` and then spoilt by one of ``kinds``, if there are any."""

    kinds: tuple[Degradation, ...] = ()
    factor: int = 1

    def spoil(self, truth: Image, random: np.random.Generator) -> Image:
        """What a network is given for this picture, spoilt as far as chance has it; sides divide by ``factor``."""
        return spoil_at_random(shrink(truth, self.factor), self.kinds, random)


def task_of(kinds: Sequence[str], factor: int) -> Task:
    """The task of degradations by name. Raises ConfigError where there is no such degradation."""
    return Task(tuple(degradation(name) for name in kinds), factor)


def shrink(image: Image, factor: int) -> Image:
    """The means of blocks of factor x factor pixels, rounded; what does not fill a block at the end is cut."""
    if factor == 1:
        return image
    height, width = (side // factor for side in image.shape[:2])
    whole = image[: height * factor, : width * factor]
    return np.asarray(cv2.resize(whole, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


@dataclass(frozen=True, slots=True)
class PictureSampler:
    """Draws batch ``index`` of epoch ``epoch``: the same one whoever asks, in whatever process."""

    pictures: Pictures
    task: Task
    size: Size  # (w, h) of the truth
    batch: int
    seed: int
    _cache: dict[Pair, Image] = field(default_factory=dict, compare=False, repr=False)

    def draw(self, epoch: int, index: int) -> Batch:
        """(spoilt, truth), u8 (B, h / factor, w / factor, 3) and (B, h, w, 3)."""
        random = np.random.default_rng([self.seed, epoch, index])
        shares = np.asarray(self.pictures.weights) / sum(self.pictures.weights)
        truths = []
        for part in random.choice(len(shares), self.batch, p=shares):
            pairs = self.pictures.parts[part]
            truths.append(_cut(self._read(pairs[int(random.integers(len(pairs)))]), self.size, random))
        return np.stack([self.task.spoil(truth, random) for truth in truths]), np.stack(truths)

    def _read(self, pair: Pair) -> Image:
        if pair in self._cache:
            return self._cache[pair]
        image = read_image(pair)
        if sum(kept.nbytes for kept in self._cache.values()) + image.nbytes <= CACHE_BYTES:
            self._cache[pair] = image
        return image


def _cut(image: Image, size: Size, random: np.random.Generator) -> Image:
    """A piece of ``size`` of the picture or of a smaller one, mirrored or not; a small picture is enlarged."""
    (height, width), (w, h) = image.shape[:2], size
    scale = max(random.uniform(_SMALLEST_SCALE, 1.0), w / width, h / height)
    if scale != 1:
        scaled = max(w, round(width * scale)), max(h, round(height * scale))
        how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        image = np.asarray(cv2.resize(image, scaled, interpolation=how), np.uint8)
    top, left = (int(random.integers(have - want + 1)) for have, want in zip(image.shape[:2], (h, w)))
    piece = image[top : top + h, left : left + w]
    return np.ascontiguousarray(piece[:, ::-1] if random.random() < 0.5 else piece)
