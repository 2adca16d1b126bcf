"""The dense CRF itself, through ``pydensecrf2``: slow, and what the fast one is measured against.

Krähenbühl and Koltun 2011: every pixel hears from every other, by filtering on the permutohedral lattice (section 4),
through an appearance kernel and a smoothness kernel (section 3, equation 3).
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any

import numpy as np

from perception.errors import ConfigError
from perception.refinement.mean_field import opinion_of
from perception.types import VOID, Image, Segmentation

# Chosen on CamVid's training frames, as the fast one's (docs/refinement.md).
SPREAD, COLOUR, WEIGHT = 60, 5, 10  # theta_alpha in map pixels, theta_beta in grey levels, w1
SMOOTH_SPREAD, SMOOTH_WEIGHT = 3, 3  # theta_gamma in map pixels, w2
ROUNDS = 5


def load_reference() -> Any:
    """The library, which is an extra.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        return import_module("pydensecrf.densecrf")
    except ImportError:
        raise ConfigError(
            "--refine crf-reference needs the library pydensecrf2, which is not installed. Run: pip install "
            "'roadcast[crf]' (it compiles for a minute), or take --refine crf."
        ) from None


def refine_by_reference(segmentation: Segmentation, image: Image, *, class_ids: Sequence[int]) -> Segmentation:
    """Labels and confidence by the reference; arguments as of ``mean_field.refine``, and all ids of the class table.

    Raises:
        ConfigError: the library is not installed.
    """
    library = load_reference()
    height, width = segmentation.labels.shape
    ids, classes = np.array(class_ids, np.intp), len(class_ids)
    everywhere = np.indices((height, width))
    opinions = opinion_of(segmentation, ids, classes)(everywhere[0], everywhere[1])
    void = segmentation.labels == VOID
    opinions[:, void] = -np.log(classes)
    field = library.DenseCRF2D(width, height, classes)
    field.setUnaryEnergy(np.ascontiguousarray(-opinions.reshape(classes, -1), np.float32))
    field.addPairwiseGaussian(sxy=SMOOTH_SPREAD, compat=SMOOTH_WEIGHT)
    field.addPairwiseBilateral(sxy=SPREAD, srgb=COLOUR, rgbim=np.ascontiguousarray(image), compat=WEIGHT)
    beliefs = np.asarray(field.inference(ROUNDS), np.float32).reshape(classes, height, width)
    labels = np.where(void, VOID, ids[beliefs.argmax(axis=0)]).astype(np.uint8)
    confidence = None
    if segmentation.confidence is not None:
        confidence = np.where(void, segmentation.confidence, np.rint(beliefs.max(axis=0) * 255)).astype(np.uint8)
    return Segmentation(labels, confidence)
