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
import numpy.typing as npt

from perception.classes import CITYSCAPES
from perception.engines.engine import Engine
from perception.errors import ModelError, SourceError
from perception.geometry import fit_size
from perception.stages.prepare import prepare
from perception.types import VOID, Image, LabelMap, Size
from training.data.datasets import Pair, read_pair
from training.data.taxonomy import CAMVID_NAMES, CLASSES, camvid_from_train_ids, camvid_from_values
from training.metrics import (
    BoundaryTally,
    Confusion,
    FlickerTally,
    confusion_matrix,
    dice_per_class,
    empty_confusion,
    frequency_weighted_iou,
    iou_per_class,
    mean_accuracy,
    mean_iou,
    pixel_accuracy,
)

Predictor = Callable[[Image], LabelMap]
Observer = Callable[[Pair, LabelMap, Confusion], None]  # a pair, its predicted train ids, its own confusion

DEFAULT_PIXELS = 512 * 384
# The network size at which a model in training is scored: near that of the data set's own frames.
SCORE_PIXELS = {"camvid": 512 * 384, "kitti": 1248 * 384, "cityscapes": 1024 * 512, "synth": 576 * 320}


@dataclass(frozen=True, slots=True, eq=False)
class Score:
    """The result on one data set. CamVid is scored over its 11 classes, everything else over 19."""

    names: tuple[str, ...]
    confusion: Confusion
    images: int
    boundary: npt.NDArray[np.float64] | None = None  # (C,) boundary F-score, where it was asked for
    flicker: tuple[float, float] | None = None  # of the truth and of the flow, where it was asked for

    @property
    def mean_iou(self) -> float:
        """Mean IoU over the classes present; NaN if no pixel is labelled."""
        return mean_iou(self.confusion)

    def to_json(self) -> dict[str, object]:
        """Plain numbers, rounded to four digits; None where there is no figure."""
        present = self.confusion.sum(axis=1) > 0
        dice = dice_per_class(self.confusion)[present]
        result: dict[str, object] = {
            "images": self.images,
            "mean_iou": _plain(self.mean_iou),
            "mean_dice": _plain(float(dice.mean()) if dice.size else np.nan),
            "pixel_accuracy": _plain(pixel_accuracy(self.confusion)),
            "mean_accuracy": _plain(mean_accuracy(self.confusion)),
            "frequency_weighted_iou": _plain(frequency_weighted_iou(self.confusion)),
            "iou": self._by_name(iou_per_class(self.confusion)),
        }
        if self.boundary is not None:
            some = np.isfinite(self.boundary)
            result["boundary_f"] = _plain(float(self.boundary[some].mean()) if some.any() else np.nan)
            result["boundary_f_per_class"] = self._by_name(self.boundary)
        if self.flicker is not None:
            result["flicker"] = {"of_truth": _plain(self.flicker[0]), "of_flow": _plain(self.flicker[1])}
        return result

    def _by_name(self, values: npt.NDArray[np.float64]) -> dict[str, float | None]:
        return {name: _plain(float(value)) for name, value in zip(self.names, values) if not np.isnan(value)}


def _plain(value: float) -> float | None:
    return round(value, 4) if np.isfinite(value) else None  # JSON has no NaN


def evaluate(
    predict: Predictor,
    pairs: Sequence[Pair],
    *,
    boundary: bool = False,
    flicker: bool = False,
    observers: Sequence[Observer] = (),
    unlabelled: bool = False,
) -> Score:
    """Run ``predict`` over all pairs of one kind of data set and count one confusion matrix.

    Args:
        predict: from a frame to train ids of its own size; what it leaves void counts as missed.
        pairs: labelled images.
        boundary: score boundaries as well.
        flicker: score flicker as well, from each frame to the next of the same drive, in the order of ``pairs``.
        observers: called after each frame.
        unlabelled: accept labels without a known pixel, as those of a test split are.

    Raises:
        ModelError: a predicted label is none of the 19 classes, and not void.
        SourceError: an image or its labels cannot be read, or no pixel is labelled.
    """
    camvid = pairs[0].kind == "camvid"
    names = CAMVID_NAMES if camvid else tuple(row.name for row in CITYSCAPES.rows)
    truth_table = camvid_from_values() if camvid else _train_ids_only()
    prediction_table = camvid_from_train_ids() if camvid else np.arange(256, dtype=np.uint8)
    total = empty_confusion(len(names))
    contours = BoundaryTally(len(names)) if boundary else None
    motion = FlickerTally() if flicker else None
    for before, pair in zip([None, *pairs], pairs):
        image, values = read_pair(pair)
        labels = predict(image)
        foreign = labels[(labels >= CLASSES) & (labels != VOID)]
        if foreign.size:
            raise ModelError(
                f"The model answered label {foreign.max()}; only models of {CLASSES} classes can be scored."
            )
        truth, prediction = truth_table[values], prediction_table[labels]
        confusion = confusion_matrix(truth, prediction, len(names))
        total += confusion
        if contours is not None:
            contours.add(truth, prediction)
        if motion is not None:
            if before is not None and drive_of(before) != drive_of(pair):
                motion.restart()
            motion.add(image, prediction, truth)
        for observe in observers:
            observe(pair, labels, confusion)
    if not total.any() and not unlabelled:
        raise SourceError(f"No pixel of the {len(pairs)} images is labelled; the first is {pairs[0].labels}.")
    of_time = None if motion is None else (motion.of_truth, motion.of_flow)
    return Score(names, total, len(pairs), None if contours is None else contours.per_class(), of_time)


def drive_of(pair: Pair) -> str:
    """What the files of one drive have in common: the folder, and the name before the frame's number."""
    stem = pair.image.stem.removesuffix("_leftImg8bit")
    return f"{pair.image.parent}/{stem.rpartition('_')[0]}"


def _train_ids_only() -> LabelMap:
    table = np.full(256, VOID, np.uint8)
    table[:CLASSES] = np.arange(CLASSES)
    return table


def engine_predictor(engine: Engine, pixels: Size | int | None = None) -> Predictor:
    """Predict through an engine exactly as the node does; labels are brought to frame size by nearest.

    ``pixels`` is the budget of the network's input, or the (w, h) itself; None for what the model card says.
    """

    def predict(image: Image) -> LabelMap:
        height, width = image.shape[:2]
        size = pixels if isinstance(pixels, tuple) else engine.spec.network_size((width, height), pixels)
        frame = prepare(image, size)
        labels = engine.submit(frame[None]).result()["labels"][0]
        return np.asarray(cv2.resize(labels, (width, height), interpolation=cv2.INTER_NEAREST_EXACT), np.uint8)

    return predict


def keras_predictor(model: keras.Model, pixels: Size | int, *, flip: bool = False) -> Predictor:
    """Predict with a Keras model (its first output, logits); logits are brought to frame size bilinearly.

    With ``flip`` the probabilities of the mirrored frame are averaged in.
    """

    def predict(image: Image) -> LabelMap:
        height, width = image.shape[:2]
        frame = prepare(image, pixels if isinstance(pixels, tuple) else fit_size((width, height), pixels))
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
