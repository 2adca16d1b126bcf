"""Scores that are probabilities: of 100 objects of score 0.7, about 70 are right."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

WHOLE_AREA = 2000.0  # map pixels from which on size says nothing more
# Logistic regression on what the default model's head for centres finds in rendered streets that it never saw
# (`benchmarks/calibration.py` fits it again): a constant, per logarithm of the raw score, and of the area.
CONSTANT, OF_SCORE, OF_AREA = 5.5, 2.5, 1.0
_LEAST = 1e-3  # raw scores below it are this


def calibrated(raw: npt.NDArray[np.floating], areas: npt.NDArray[np.integer]) -> npt.NDArray[np.float32]:
    """(N,) how probably objects of these (N,) raw scores and areas, in map pixels, are right.

    Right is one whose mask and that of a true object of its class have an intersection over union above 0.5. Raw is
    the mean confidence of the object's pixels times the score that the model gave its id. The method is that of Platt
    1999, "Probabilistic Outputs for Support Vector Machines", with the area beside the score: a small object has more
    of its pixels at its edge, where they may be wrong.
    """
    of_score = OF_SCORE * np.log(np.maximum(raw, _LEAST))
    of_area = OF_AREA * np.log(np.clip(areas / WHOLE_AREA, 1 / WHOLE_AREA, 1))
    return np.asarray(1 / (1 + np.exp(-(CONSTANT + of_score + of_area))), np.float32)
