"""Score a model on labelled frames that were spoilt, as its users would meet them."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from perception.engines.engine import Engine
from perception.stages.prepare import prepare
from perception.types import Image, LabelMap
from training.data.degrade import Degradation
from training.evaluate import Predictor
from training.restoration.album import generator_of
from training.restoration.samples import shrink

Spoil = Callable[[Image], Image]


def spoiler(kind: Degradation | None, *, strength: float | None = None, factor: int = 1) -> Spoil:
    """What a camera would give for a frame: shrunk by ``factor`` and spoilt, the same again for the same frame.

    ``strength`` is by default that of tests; without ``kind`` frames are only shrunk.
    """

    def spoil(image: Image) -> Image:
        small = shrink(image, factor)
        if kind is None:
            return small
        return kind.spoil(small, kind.strength if strength is None else strength, generator_of(image))

    return spoil


def degraded_predictor(engine: Engine, spoil: Spoil, pixels: int | None = None) -> Predictor:
    """Predict through an engine what a node would for the spoilt frame; labels are brought to the size of the frame
    that was not, by nearest."""

    def predict(image: Image) -> LabelMap:
        spoilt = spoil(image)
        frame = prepare(spoilt, engine.spec.network_size((spoilt.shape[1], spoilt.shape[0]), pixels))
        labels = engine.submit(frame[None]).result()["labels"][0]
        size = image.shape[1], image.shape[0]
        return np.asarray(cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST_EXACT), np.uint8)

    return predict
