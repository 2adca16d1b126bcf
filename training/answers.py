"""What a model answers to a frame at network size, as labels and confidence, whatever runs the model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import keras
import numpy as np
import numpy.typing as npt

from perception.engines.engine import Engine
from perception.errors import ModelError
from perception.types import Image, LabelMap

Confidence = npt.NDArray[np.float32]  # (h, w), 0..1
Shape = tuple[int, int]  # (h, w)
# (frame, shape wanted or None for the model's own) to (labels, confidence or None where the model gives none).
Answer = Callable[[Image, "Shape | None"], "tuple[LabelMap, Confidence | None]"]


def engine_answer(engine: Engine) -> Answer:
    """Ask an engine. Its maps have the size that they have: another one that is wanted is a ModelError."""

    def answer(frame: Image, shape: Shape | None) -> tuple[LabelMap, Confidence | None]:
        outputs = engine.submit(frame[None]).result()
        labels = outputs["labels"][0]
        if shape is not None and labels.shape != shape:
            raise ModelError(
                f"The labels of {engine.spec.id!r} are {labels.shape[1]}x{labels.shape[0]}, the other model's "
                f"{shape[1]}x{shape[0]}: they cannot be compared. Export both with one --label-stride."
            )
        confidence = outputs["confidence"][0].astype(np.float32) / 255 if "confidence" in outputs else None
        return labels, confidence

    return answer


def keras_answer(model: keras.Model) -> Answer:
    """Ask a Keras model; its logits are brought to the shape that is wanted, as an exported graph does it."""

    def answer(frame: Image, shape: Shape | None) -> tuple[LabelMap, Confidence | None]:
        output: Any = model(frame[None], training=False)
        first = output[0] if isinstance(output, (list, tuple)) else output
        logits = np.asarray(keras.ops.convert_to_numpy(first), np.float32)[0]
        if shape is not None and logits.shape[:2] != shape:
            how = cv2.INTER_AREA if shape[0] < logits.shape[0] else cv2.INTER_LINEAR
            logits = np.asarray(cv2.resize(logits, shape[::-1], interpolation=how), np.float32)
        total = np.exp(logits - logits.max(axis=-1, keepdims=True)).sum(axis=-1)
        return logits.argmax(axis=-1).astype(np.uint8), np.float32(1) / total

    return answer
