"""Compare an exported graph with the Keras model it came from, frame by frame."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import keras
import numpy as np

from perception.engines.engine import Engine
from perception.stages.prepare import prepare
from perception.types import Image


@dataclass(frozen=True, slots=True)
class Parity:
    """How far two engines agree on the same frames."""

    frames: int
    label_agreement: float  # share of pixels with the same label
    worst_frame: float  # the same for the worst frame
    confidence_difference: float  # largest mean absolute difference of a frame, in 1/255


def compare(model: keras.Model, engine: Engine, images: Iterable[Image]) -> Parity:
    """Labels and confidence of ``engine`` against those computed from the Keras model's logits.

    Frames are brought to network size once, so that only the graph is compared.
    """
    agreements, differences = [], []
    for image in images:
        frame = prepare(image, engine.spec.network_size((image.shape[1], image.shape[0])))
        outputs = engine.submit(frame[None]).result()
        labels, confidence = _labels_of(model, frame, outputs["labels"].shape[1:])
        agreements.append(float((labels == outputs["labels"][0]).mean()))
        differences.append(float(np.abs(confidence - outputs["confidence"][0].astype(np.float32)).mean()))
    if not agreements:
        raise ValueError("no frames to compare on")
    return Parity(len(agreements), float(np.mean(agreements)), min(agreements), max(differences))


def _labels_of(model: keras.Model, frame: Image, size: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    logits = np.asarray(keras.ops.convert_to_numpy(model(frame[None], training=False)), np.float32)[0]
    if logits.shape[:2] != size:
        logits = cv2.resize(logits, (size[1], size[0]), interpolation=cv2.INTER_LINEAR)
    best = logits.max(axis=-1)
    total = np.exp(logits - best[..., None]).sum(axis=-1)
    return logits.argmax(axis=-1), 255 / total
