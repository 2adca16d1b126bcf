"""Batches of augmented samples, each determined by (seed, epoch, index).

This module is what a loader's worker process imports: numpy and OpenCV, no Keras.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

import cv2
import numpy as np
import numpy.typing as npt

from perception.errors import ConfigError
from perception.types import Image, LabelMap, Size
from training.data.augment import Augmentation, augment
from training.data.borders import BorderTerm
from training.data.datasets import Pair, read_pair
from training.data.paste import Cutout, find_cutouts, paste_objects

Images = npt.NDArray[np.uint8]  # (B, H, W, 3) BGR
Labels = npt.NDArray[np.uint8]  # (B, H, W) training label values, or (B, H, W, 2) with border weights
# What is to be learnt of the images: labels, or a head's targets, or both in this order.
Batch = tuple[Images, npt.NDArray[Any] | tuple[npt.NDArray[Any], npt.NDArray[Any]]]

CACHE_BYTES = 1 << 30  # decoded files that one process keeps; CamVid and KITTI fit, Cityscapes does not


@dataclass(frozen=True, slots=True)
class Mixture:
    """Data sets to draw from, each as often as its weight says."""

    parts: tuple[tuple[Pair, ...], ...]
    weights: tuple[float, ...]  # expected share of each part, any positive scale
    rules: tuple[Augmentation, ...]  # one per part: data sets differ in the size of things

    def __post_init__(self) -> None:
        if not self.parts or len({len(self.parts), len(self.weights), len(self.rules)}) != 1:
            raise ConfigError("A mixture needs at least one data set, and a weight and a rule for each.")
        if min(self.weights) <= 0:
            raise ConfigError(f"Data set weights must be positive, got {self.weights}.")

    def draw_parts(self, count: int, random: np.random.Generator) -> list[tuple[tuple[Pair, ...], Augmentation]]:
        """``count`` data sets, each with its rule, as often as the weights say."""
        shares = np.asarray(self.weights) / sum(self.weights)
        return [(self.parts[part], self.rules[part]) for part in random.choice(len(shares), count, p=shares)]

    def to_json(self) -> list[dict[str, Any]]:
        """What identifies each part: kind, file names, weight and rule. Folders may move, so they do not count."""
        return [
            part_to_json(part, weight) | {"augmentation": asdict(rule)}
            for part, weight, rule in zip(self.parts, self.weights, self.rules)
        ]


def part_to_json(part: Sequence[Pair], weight: float) -> dict[str, Any]:
    """What identifies a data set of a run, in plain values."""
    return {
        "kind": part[0].kind,
        "images": len(part),
        "names": hashlib.sha256("\n".join(pair.image.name for pair in part).encode()).hexdigest()[:12],
        "weight": weight,
    }


@dataclass(frozen=True, slots=True)
class Sampler:
    """Draws batch ``index`` of epoch ``epoch``: the same one whoever asks, in whatever process."""

    mixture: Mixture
    size: Size  # (w, h) of the crops
    batch: int
    seed: int
    border: BorderTerm | None = None
    _cache: dict[Pair, tuple[Image, LabelMap]] = field(default_factory=dict, compare=False, repr=False)
    _cutouts: dict[Pair, list[Cutout]] = field(default_factory=dict, compare=False, repr=False)

    def draw(self, epoch: int, index: int) -> tuple[Images, Labels]:
        """One batch; decoded files are kept in memory as far as ``CACHE_BYTES`` go."""
        random = np.random.default_rng([self.seed, epoch, index])
        samples = []
        for pairs, rule in self.mixture.draw_parts(self.batch, random):
            image, labels = self._read(pairs[int(random.integers(len(pairs)))])
            if random.random() < rule.paste:
                image, labels = self._paste(image, labels, pairs[int(random.integers(len(pairs)))], random)
            image, labels = augment(image, labels, self.size, rule, random)
            samples.append((image, labels if self.border is None else self.border.beside(labels)))
        images, labels_list = zip(*samples)
        return np.stack(images), np.stack(labels_list)

    def _read(self, pair: Pair) -> tuple[Image, LabelMap]:
        if pair in self._cache:
            return self._cache[pair]
        image, labels = read_pair(pair)
        if sum(a.nbytes + b.nbytes for a, b in self._cache.values()) + image.nbytes + labels.nbytes <= CACHE_BYTES:
            self._cache[pair] = image, labels
        return image, labels

    def _paste(self, image: Image, labels: LabelMap, pair: Pair, random: np.random.Generator) -> tuple[Image, LabelMap]:
        donor = self._read(pair)
        cutouts = self._cutouts[pair] if pair in self._cutouts else find_cutouts(donor[1])
        if pair in self._cache:  # so that what is kept of these is limited too
            self._cutouts[pair] = cutouts
        return paste_objects(image, labels, donor, cutouts, random)


class Drawing(Protocol):
    """What a worker process draws batches with; it is pickled to get there."""

    def draw(self, epoch: int, index: int) -> Batch:
        """Batch ``index`` of epoch ``epoch``: the same one whoever asks, in whatever process."""
        ...


_sampler: Drawing | None = None


def start_worker(sampler: Drawing) -> None:
    """Initialise a worker process: one sampler, one OpenCV thread (the processes are the parallelism).

    Ctrl-C reaches every process of a terminal; the trainer decides what it means, the worker waits for that.
    """
    global _sampler  # a pool initialiser has no other way to hand its worker something
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    cv2.setNumThreads(1)
    _sampler = sampler


def _end_with_parent() -> None:
    """End this process when the trainer is gone: a killed one cannot tell its workers."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def draw_in_worker(epoch: int, index: int) -> Batch:
    """Draw a batch in a worker process."""
    assert _sampler is not None  # the pool runs start_worker first
    return _sampler.draw(epoch, index)
