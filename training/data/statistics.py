"""Pixel statistics of labelled data: how often each class occurs, and weights made from that."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from perception.errors import ConfigError
from training.data.datasets import Pair, read_pair
from training.data.taxonomy import CLASSES, membership


def class_frequencies(pairs: Iterable[Pair]) -> npt.NDArray[np.float64]:
    """(19,) share of the known pixels of each class; a coarse label's pixels are split evenly over its set."""
    counts = np.zeros(256, np.int64)
    for pair in pairs:
        counts += np.bincount(read_pair(pair)[1].ravel(), minlength=256)
    sets = membership()
    sizes = sets.sum(axis=1)
    shares = np.divide(counts, sizes, out=np.zeros(256), where=sizes > 0) @ sets
    if not shares.any():
        raise ConfigError("The labels hold no known pixel, so there are no class frequencies.")
    return np.asarray(shares / shares.sum(), np.float64)


def inverse_power_weights(
    frequencies: npt.NDArray[np.float64], power: float, limit: float = 4.0
) -> npt.NDArray[np.float32]:
    """(19,) loss weights proportional to frequency^-power, median 1, within 1/limit..limit.

    Power 1 is median frequency balancing (Eigen & Fergus 2015), 0 no weighting; in between, rare classes
    count more without drowning the rest. Classes that do not occur weigh 1.
    """
    present = frequencies > 0
    weights = np.ones(CLASSES)
    weights[present] = (np.median(frequencies[present]) / frequencies[present]) ** power
    return np.clip(weights, 1 / limit, limit).astype(np.float32)
