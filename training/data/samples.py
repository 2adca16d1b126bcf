"""Batches of augmented samples, each determined by (seed, epoch, index).

This module is what a loader's worker process imports: numpy and OpenCV, no Keras.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
import numpy.typing as npt

from perception.errors import ConfigError
from perception.types import Image, LabelMap, Size
from training.data.augment import Augmentation, augment
from training.data.datasets import Pair, read_pair

Images = npt.NDArray[np.uint8]  # (B, H, W, 3) BGR
Labels = npt.NDArray[np.uint8]  # (B, H, W) training label values
Batch = tuple[Images, Labels]


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


@dataclass(frozen=True, slots=True)
class Sampler:
    """Draws batch ``index`` of epoch ``epoch``: the same one whoever asks, in whatever process."""

    mixture: Mixture
    size: Size  # (w, h) of the crops
    batch: int
    seed: int
    _cache: dict[Pair, tuple[Image, LabelMap]] = field(default_factory=dict, compare=False, repr=False)

    def draw(self, epoch: int, index: int) -> Batch:
        """One batch; decoded files are kept in memory, for the data sets here fit into it."""
        random = np.random.default_rng([self.seed, epoch, index])
        shares = np.asarray(self.mixture.weights) / sum(self.mixture.weights)
        samples = []
        for part in random.choice(len(shares), self.batch, p=shares):
            pairs = self.mixture.parts[part]
            pair = pairs[int(random.integers(len(pairs)))]
            image, labels = self._read(pair)
            samples.append(augment(image, labels, self.size, self.mixture.rules[part], random))
        images, labels_list = zip(*samples)
        return np.stack(images), np.stack(labels_list)

    def _read(self, pair: Pair) -> tuple[Image, LabelMap]:
        if pair not in self._cache:
            self._cache[pair] = read_pair(pair)
        return self._cache[pair]


_sampler: Sampler | None = None


def start_worker(sampler: Sampler) -> None:
    """Initialise a worker process: one sampler, one OpenCV thread (the processes are the parallelism)."""
    global _sampler  # a pool initialiser has no other way to hand its worker something
    cv2.setNumThreads(1)
    _sampler = sampler


def draw_in_worker(epoch: int, index: int) -> Batch:
    """Draw a batch in a worker process."""
    assert _sampler is not None  # the pool runs start_worker first
    return _sampler.draw(epoch, index)
