"""Batches for a head that tells objects apart, each determined by (seed, epoch, index).

This module is what a loader's worker process imports: numpy and OpenCV, no Keras.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from perception.types import VOID, Size
from training.data.augment import draw_view, relight
from training.data.centres import UNKNOWN, Ids
from training.data.datasets import Pair, read_pair
from training.data.instances import has_instances, read_instances, uncounted
from training.data.paste import Cutout
from training.data.paste_instances import Sample, find_instances, paste_instances
from training.data.samples import CACHE_BYTES, Images, Labels, Mixture

Targets = npt.NDArray[np.float32]  # (B, h, w, C)


class Targeting(Protocol):
    """What makes a head's targets of a crop."""

    def of(self, ids: Ids) -> npt.NDArray[np.float32]:
        """(h, w, C) from the instance map (H, W) at half the crop's size."""
        ...


@dataclass(frozen=True, slots=True)
class InstanceSampler:
    """Draws batch ``index`` of epoch ``epoch``: the same one whoever asks, in whatever process.

    Data sets, crops and light are those of ``Sampler``; what is pasted are single objects of another frame, mostly
    beside others, so that more of them touch. With ``labels`` they are drawn as well, for a trunk that learns too;
    data that does not tell objects apart then says at least where there is none.
    """

    mixture: Mixture
    size: Size  # (w, h) of the crops
    batch: int
    seed: int
    targets: Targeting
    labels: bool = False
    _cache: dict[Pair, Sample] = field(default_factory=dict, compare=False, repr=False)
    _cutouts: dict[Pair, list[Cutout]] = field(default_factory=dict, compare=False, repr=False)

    def draw(self, epoch: int, index: int) -> tuple[Images, Targets | tuple[Labels, Targets]]:
        """Frames (B, H, W, 3) u8 BGR and their targets, with ``labels`` after labels (B, H/2, W/2) u8.

        Raises:
            SourceError: a file cannot be read.
        """
        random = np.random.default_rng([self.seed, epoch, index])
        images, targets, classes = [], [], []
        for pairs, rule in self.mixture.draw_parts(self.batch, random):
            sample = self._read(pairs[int(random.integers(len(pairs)))])
            if random.random() < rule.paste:
                sample = self._paste(sample, pairs[int(random.integers(len(pairs)))], random)
            image, labels, ids = sample
            view = draw_view(labels, self.size, rule, random)
            images.append(relight(view.of_image(image), view, rule, random))
            targets.append(self.targets.of(view.of_map(ids, UNKNOWN)))
            if self.labels:
                classes.append(view.of_map(labels, VOID))
        learnt = np.stack(targets)
        return np.stack(images), (np.stack(classes), learnt) if self.labels else learnt

    def _paste(self, sample: Sample, pair: Pair, random: np.random.Generator) -> Sample:
        donor = self._read(pair)
        cutouts = self._cutouts[pair] if pair in self._cutouts else find_instances(donor[2])
        if pair in self._cache:  # so that what is kept of these is limited too
            self._cutouts[pair] = cutouts
        return paste_instances(sample, donor, cutouts, random)

    def _read(self, pair: Pair) -> Sample:
        if pair in self._cache:
            return self._cache[pair]
        image, labels = read_pair(pair)
        instances = read_instances(pair) if has_instances(pair) else np.zeros(labels.shape, np.int32)
        found = image, labels, np.where(uncounted(labels, instances), UNKNOWN, instances).astype(np.uint16)
        if sum(a.nbytes for kept in self._cache.values() for a in kept) + sum(a.nbytes for a in found) <= CACHE_BYTES:
            self._cache[pair] = found
        return found
