"""Objects by their boundaries as the recipe has it: the reference of what exported graphs do by flooding.

The recipe won the Data Science Bowl 2018 (Buslaev, Durnov, Seferbekov; "[ods.ai] topcoders"): seeds where
body x (1 - border) > 0.5, a watershed on -body inside body > 0.275, growth by 7 x 7 into the full mask > 0.35.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from perception.errors import RequestError
from perception.stages.boundaries import BODY, FULL, GROWTH, SEED, Bounded, rows_and_columns
from perception.stages.votes import Floats

LEAST = 10  # cells of a seed, and of an object


def by_watershed(body: Floats, border: Floats) -> Bounded:
    """The recipe, on (h, w) f32 probabilities.

    Raises:
        RequestError: scikit-image is not installed.
    """
    try:
        from skimage.segmentation import watershed
    except ImportError as error:
        raise RequestError(
            f"Objects by watershed need scikit-image ({error}). Install it with: pip install 'roadcast[train]'"
        ) from error
    inner = body * (1 - border)
    markers = _large_enough(_connected(inner > SEED))
    grown = np.asarray(watershed(-body, markers, mask=body > BODY, connectivity=2))  # type: ignore[no-untyped-call]
    wider = cv2.dilate(grown.astype(np.float32), np.ones((GROWTH, GROWTH)), borderValue=0.0).astype(np.int32)
    whole = np.where((grown == 0) & (np.minimum(body + border, 1) > FULL), wider, grown)
    ids = _large_enough(whole.astype(np.int32))
    count = int(ids.max(initial=0))
    by_seed = np.argsort(-np.where(markers > 0, inner, 0).ravel(), kind="stable")
    flat = ids.ravel()[by_seed]
    found, first = np.unique(flat, return_index=True)  # the brightest cell of each
    place = by_seed[first[found > 0]]
    scores = np.where(markers > 0, inner, 0).ravel()[place].astype(np.float32)
    order = np.argsort(-scores, kind="stable")
    number = np.zeros(count + 1, np.int32)
    number[order + 1] = np.arange(1, count + 1)
    return Bounded(number[ids], scores[order], rows_and_columns(place[order], body.shape[1]))


def _connected(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.int32]:
    return np.asarray(cv2.connectedComponents(mask.view(np.uint8), connectivity=8, ltype=cv2.CV_32S)[1], np.int32)


def _large_enough(ids: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    """Those of LEAST cells and more, numbered anew."""
    areas = np.bincount(ids.ravel())
    kept = areas >= LEAST
    kept[0] = False
    number = np.where(kept, np.cumsum(kept), 0).astype(np.int32)
    return np.asarray(number[ids], np.int32)
