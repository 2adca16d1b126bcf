"""Score a model on labelled images, as its users would run it.

A predictor maps a frame to labels of the frame's own size; there is one around an engine (the shipped
file, through the node's own prepare step) and one around a Keras model in training.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import keras
import numpy as np

from perception.classes import CITYSCAPES
from perception.engines.engine import Engine
from perception.errors import ModelError, SourceError
from perception.geometry import fit_size
from perception.stages.prepare import prepare
from perception.types import VOID, Image, LabelMap
from training.data.datasets import Pair, read_pair
from training.data.taxonomy import CAMVID_NAMES, CLASSES, camvid_from_train_ids, camvid_from_values
from training.metrics import Confusion, confusion_matrix, iou_per_class, mean_iou, pixel_accuracy

Predictor = Callable[[Image], LabelMap]

DEFAULT_PIXELS = 512 * 384
# The network size at which a model in training is scored: near that of the data set's own frames.
SCORE_PIXELS = {"camvid": 512 * 384, "kitti": 1248 * 384, "cityscapes": 1024 * 512, "synth": 576 * 320}


@dataclass(frozen=True, slots=True)
class Score:
    """The result on one data set. CamVid is scored over its 11 classes, everything else over 19."""

    names: tuple[str, ...]
    confusion: Confusion
    images: int

    @property
    def mean_iou(self) -> float:
        """Mean IoU over the classes present."""
        return mean_iou(self.confusion)

    def to_json(self) -> dict[str, object]:
        """Plain numbers, rounded to four digits."""
        per_class = iou_per_class(self.confusion)
        return {
            "images": self.images,
            "mean_iou": round(self.mean_iou, 4),
            "pixel_accuracy": round(pixel_accuracy(self.confusion), 4),
            "iou": {n: round(float(v), 4) for n, v in zip(self.names, per_class) if not np.isnan(v)},
        }


def evaluate(predict: Predictor, pairs: Sequence[Pair]) -> Score:
    """Run ``predict`` over all pairs of one kind of data set and count one confusion matrix.

    Raises:
        ModelError: a predicted label is none of the 19 classes.
        SourceError: an image or its labels cannot be read, or no pixel is labelled.
    """
    camvid = pairs[0].kind == "camvid"
    names = CAMVID_NAMES if camvid else tuple(row.name for row in CITYSCAPES.rows)
    truth_table = camvid_from_values() if camvid else _train_ids_only()
    prediction_table = camvid_from_train_ids() if camvid else np.arange(256, dtype=np.uint8)
    total = np.zeros((len(names), len(names)), np.int64)
    for pair in pairs:
        image, values = read_pair(pair)
        labels = predict(image)
        if int(labels.max()) >= CLASSES:
            raise ModelError(
                f"The model answered label {labels.max()}; only models of {CLASSES} classes can be scored."
            )
        total += confusion_matrix(truth_table[values], prediction_table[labels], len(names))
    if not total.any():
        raise SourceError(f"No pixel of the {len(pairs)} images is labelled; the first is {pairs[0].labels}.")
    return Score(names, total, len(pairs))


def _train_ids_only() -> LabelMap:
    table = np.full(256, VOID, np.uint8)
    table[:CLASSES] = np.arange(CLASSES)
    return table


def engine_predictor(engine: Engine, pixels: int | None = None) -> Predictor:
    """Predict through an engine exactly as the node does; labels are brought to frame size by nearest."""

    def predict(image: Image) -> LabelMap:
        height, width = image.shape[:2]
        frame = prepare(image, engine.spec.network_size((width, height), pixels))
        labels = engine.submit(frame[None]).result()["labels"][0]
        return np.asarray(cv2.resize(labels, (width, height), interpolation=cv2.INTER_NEAREST_EXACT), np.uint8)

    return predict


def keras_predictor(model: keras.Model, pixels: int, *, flip: bool = False) -> Predictor:
    """Predict with a Keras model (its first output, logits); logits are brought to frame size bilinearly.

    With ``flip`` the probabilities of the mirrored frame are averaged in.
    """

    def predict(image: Image) -> LabelMap:
        height, width = image.shape[:2]
        frame = prepare(image, fit_size((width, height), pixels))
        batch = np.stack([frame, frame[:, ::-1]]) if flip else frame[None]
        output = model.predict_on_batch(batch)
        logits = np.asarray(output[0] if isinstance(output, list) else output, np.float32)
        if flip:
            logits = _softmax(logits)
            logits = logits[:1] + logits[1:, :, ::-1]
        large = cv2.resize(logits[0], (width, height), interpolation=cv2.INTER_LINEAR)
        return np.asarray(large.argmax(axis=-1), np.uint8)

    return predict


def _softmax(
    logits: np.ndarray[tuple[int, ...], np.dtype[np.float32]],
) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(exponentials / exponentials.sum(axis=-1, keepdims=True), np.float32)
