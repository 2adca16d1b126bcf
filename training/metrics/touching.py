"""Pairs of objects that touch: whether a prediction tells them apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from perception.classes import CITYSCAPES
from training.metrics.overlaps import NUMBERS, InstanceMap, Overlaps

Pairs = npt.NDArray[np.int64]  # (P, 2) values of a truth map, the smaller one first


@dataclass(frozen=True, slots=True, eq=False)
class TouchingScore:
    """Counts by class id: pairs, and those told apart, run together, and met, both, at an IoU above 0.5."""

    pairs: dict[int, int]
    separated: dict[int, int]
    together: dict[int, int]
    met: dict[int, int]

    @property
    def share(self) -> float:
        """Share of all pairs that are told apart; NaN without pairs."""
        return _share(sum(self.separated.values()), sum(self.pairs.values()))

    @property
    def share_together(self) -> float:
        """Share of all pairs that are run together; NaN without pairs."""
        return _share(sum(self.together.values()), sum(self.pairs.values()))

    def to_json(self) -> dict[str, object]:
        """Pairs, and the shares separated, together and met, of all and by class; shares are None without pairs."""
        by_class = {class_id: [one[class_id] for one in self._counts()] for class_id in sorted(self.pairs)}
        classes = {CITYSCAPES.name(class_id): _shares(*counts) for class_id, counts in by_class.items()}
        return {**_shares(*(sum(one.values()) for one in self._counts())), "classes": classes}

    def _counts(self) -> tuple[dict[int, int], ...]:
        return self.pairs, self.separated, self.together, self.met


def _shares(pairs: int, *counts: int) -> dict[str, object]:
    shares = (round(count / pairs, 4) if pairs else None for count in counts)
    return {"pairs": pairs, **dict(zip(("separated", "together", "met"), shares))}


def _share(count: int, pairs: int) -> float:
    return count / pairs if pairs else float("nan")


class TouchingTally:
    """Collects pairs of true objects of one class that touch, corners included, both of ``min_area`` and more.

    A pair is *separated* if more than half of each one's pixels lie in one predicted object of the class, and
    these are two different ones: objects run together fail, and so do objects missed or cut to pieces.
    It is run *together* if one predicted object holds more than half of both. It is *met* if two different predictions
    have an intersection over union above 0.5 with them.
    """

    def __init__(self, min_area: int) -> None:
        self._min_area = min_area
        self._counts: dict[int, list[int]] = {}

    def add(self, codes: InstanceMap, overlaps: Overlaps, class_ids: npt.NDArray[Any]) -> None:
        """Count one picture: its (H, W) truth, what it shares with the predictions, and their (N,) classes."""
        for pair in touching_pairs(codes):
            rows = np.searchsorted(overlaps.codes, pair)
            truth_areas = overlaps.truth_areas[rows]
            if truth_areas.min() < self._min_area:
                continue
            class_id = int(pair[0]) // NUMBERS
            of_class = np.asarray(class_ids) == class_id
            shared = overlaps.shared[rows][:, of_class]  # (2, P)
            union = truth_areas[:, None] + overlaps.areas[of_class] - shared
            counts = self._counts.setdefault(class_id, [0, 0, 0, 0])
            held = shared > truth_areas[:, None] / 2
            counts[0] += 1
            counts[1] += _two_different(held)
            counts[2] += bool(held.all(axis=0).any())
            counts[3] += _two_different(shared / union > 0.5)

    def score(self) -> TouchingScore:
        """The counts of all pictures so far."""
        return TouchingScore(*({c: counts[k] for c, counts in self._counts.items()} for k in range(4)))


def _two_different(held: npt.NDArray[np.bool_]) -> bool:
    """Whether each of the two rows has a column that holds it, and not only one and the same."""
    first, second = held
    return bool(first.any() and second.any() and (first | second).sum() > 1)


def touching_pairs(codes: InstanceMap) -> Pairs:
    """The pairs of objects of one class with pixels that are neighbours, corners included, each pair once."""
    shifts = (np.s_[:, 1:], np.s_[:, :-1]), (np.s_[1:], np.s_[:-1]), (np.s_[1:, 1:], np.s_[:-1, :-1])
    found = []
    for one, other in (*shifts, (np.s_[1:, :-1], np.s_[:-1, 1:])):
        a, b = codes[one], codes[other]
        meet = (a != b) & (a >= NUMBERS) & (a // NUMBERS == b // NUMBERS)
        found.append(np.stack([a[meet], b[meet]], axis=1))
    return np.unique(np.sort(np.concatenate(found).astype(np.int64), axis=1), axis=0).reshape(-1, 2)
