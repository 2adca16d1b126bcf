"""Pixel statistics of labelled data: how often each class occurs, and weights made from that."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from perception.errors import ConfigError
from training.data.datasets import Pair, read_pair
from training.data.taxonomy import CLASSES, membership

Weighting = Literal["power", "median", "log"]
RENDERED = 32
Frequencies = npt.NDArray[np.float64]  # (19,) each within 0..1
ClassWeights = npt.NDArray[np.float32]  # (19,)


@dataclass(frozen=True, slots=True, eq=False)
class ClassCounts:
    """Known pixels of labelled images; a coarse label's pixels are split evenly over its set."""

    pixels: npt.NDArray[np.float64]  # (19,) of each class
    beside: npt.NDArray[np.float64]  # (19,) known pixels of the images that show the class

    @property
    def frequencies(self) -> Frequencies:
        """Share of all known pixels."""
        return np.asarray(self.pixels / self.pixels.sum(), np.float64)


def count_classes(pairs: Iterable[Pair]) -> ClassCounts:
    """Read all labels once and count; of rendered frames, ``RENDERED`` stand for the rest.

    Raises:
        ConfigError: no pixel is labelled.
        SourceError: a file cannot be read, or a label value is unknown.
    """
    sets = membership()
    sizes = sets.sum(axis=1)
    shares = np.divide(sets, sizes[:, None], out=np.zeros_like(sets), where=sizes[:, None] > 0).astype(np.float64)
    pixels, beside = np.zeros(CLASSES), np.zeros(CLASSES)
    rendered = 0
    for pair in pairs:
        rendered += pair.frame is not None
        if pair.frame is not None and rendered > RENDERED:
            continue
        found = np.bincount(read_pair(pair)[1].ravel(), minlength=256) @ shares
        pixels += found
        beside += found.sum() * (found > 0)
    if not pixels.any():
        raise ConfigError("The labels hold no known pixel, so there are no class frequencies.")
    return ClassCounts(pixels, beside)


def class_weights(counts: ClassCounts, weighting: Weighting, power: float = 0.25) -> ClassWeights:
    """(19,) loss weights by one of the three rules below; ``power`` belongs to the first."""
    if weighting == "power":
        return inverse_power_weights(counts.frequencies, power)
    if weighting == "median":
        return median_frequency_weights(counts)
    return log_weights(counts.frequencies)


def inverse_power_weights(frequencies: Frequencies, power: float, limit: float = 4.0) -> ClassWeights:
    """(19,) loss weights proportional to frequency^-power, median 1, within 1/limit..limit.

    0 is no weighting; in between, rare classes count more without drowning the rest. Classes that do not
    occur weigh 1.
    """
    present = frequencies > 0
    weights = np.ones(CLASSES)
    weights[present] = (np.median(frequencies[present]) / frequencies[present]) ** power
    return np.clip(weights, 1 / limit, limit).astype(np.float32)


def median_frequency_weights(counts: ClassCounts) -> ClassWeights:
    """(19,) median frequency / frequency, where a class's frequency is its share of the images that show it.

    Eigen & Fergus 2015; SegNet is trained with it. Classes that do not occur weigh 1.
    """
    present = counts.pixels > 0
    frequencies = counts.pixels[present] / counts.beside[present]
    weights = np.ones(CLASSES)
    weights[present] = np.median(frequencies) / frequencies
    return weights.astype(np.float32)


def log_weights(frequencies: Frequencies, offset: float = 1.02) -> ClassWeights:
    """(19,) 1 / ln(offset + frequency), within 1.4..50.5 at ENet's offset (Paszke et al. 2016, section 5.2)."""
    return np.asarray(1 / np.log(offset + frequencies), np.float32)
