"""The area under a curve of precision over recall."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def average_precision(scores: npt.NDArray[np.float64], right: npt.NDArray[np.bool_], missed: int) -> float:
    """The area under precision over recall, by the trapezoidal rule, from recall 0 at precision 1.

    Args:
        scores: (N,) of the predictions; those of equal score count at once.
        right: (N,) whether a prediction is right.
        missed: true objects that no prediction meets.

    Returns:
        0..1; 0 if there are no predictions or none is right.
    """
    order = np.argsort(-scores, kind="stable")
    last_of_score = np.append(np.diff(scores[order]) != 0, True)[: len(scores)]
    hits = np.cumsum(right[order])[last_of_score]
    said = np.flatnonzero(last_of_score) + 1
    if not len(hits) or not hits[-1]:
        return 0.0
    precision = np.append(1.0, hits / said)
    recall = np.append(0.0, hits / (hits[-1] + missed))
    return float(((precision[1:] + precision[:-1]) / 2 * np.diff(recall)).sum())
