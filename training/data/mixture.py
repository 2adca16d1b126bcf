"""Data sets as given on the command line, opened as one mixture."""

from __future__ import annotations

from collections.abc import Sequence

from perception.errors import ConfigError
from training.data.augment import Augmentation
from training.data.datasets import Pair, open_dataset, read_pair
from training.data.samples import Mixture

# Things differ in size from data set to data set: a KITTI frame shows a car at 1242 pixels of width as
# CamVid does at 480, and Cityscapes at 2048. The ranges bring them together, and spread from there.
RULES = {
    "camvid": Augmentation(scale=(0.65, 1.8)),
    "kitti": Augmentation(scale=(0.45, 1.5)),
    "cityscapes": Augmentation(scale=(0.25, 1.0)),
}
_STREET_WIDTHS = 384, 1024  # of a network that sees a whole rendered street, which may be rendered at any size


def open_mixture(texts: Sequence[str]) -> Mixture:
    """Open labelled data sets, with the augmentation of each kind. Raises as ``open_parts``."""
    parts, weights = open_parts(texts)
    return Mixture(parts, weights, tuple(_rule(part[0]) for part in parts))


def _rule(first: Pair) -> Augmentation:
    """The augmentation of a data set, by its first sample."""
    if first.kind != "synth":
        return RULES[first.kind]
    width = read_pair(first)[1].shape[1]
    least, most = _STREET_WIDTHS
    return Augmentation(scale=(least / width, max(most / width, 1.0)))


def open_parts(
    texts: Sequence[str], *, labelled: bool = True
) -> tuple[tuple[tuple[Pair, ...], ...], tuple[float, ...]]:
    """Open data sets given as ``kind:folder[:split][=weight]``; the weight defaults to 1.

    Raises:
        ConfigError: none was given, one cannot be opened, or a weight is not a positive number.
    """
    if not texts:
        raise ConfigError("No data set was given: use --data kind:folder[:split][=weight], as often as needed.")
    names, weights = zip(*(split_weight(text) for text in texts))
    return tuple(tuple(open_dataset(name, labelled=labelled)) for name in names), weights


def split_weight(text: str) -> tuple[str, float]:
    """A data set as it is given, and the weight after its ``=``, by default 1. Raises ConfigError."""
    dataset, separator, weight = text.rpartition("=")
    if not separator:
        return text, 1.0
    try:
        value = float(weight)
    except ValueError:
        raise ConfigError(f"The weight of data set {dataset!r} is {weight!r}, which is not a number.") from None
    if not 0 < value < float("inf"):
        raise ConfigError(f"The weight of data set {dataset!r} must be positive, got {weight}.")
    return dataset, value
