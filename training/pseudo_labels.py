"""Labels that a model makes of unlabelled video, where it is sure; the rest is void.

    OUT/leftImg8bit/<split>/<video>/<video>_000000_<frame>_leftImg8bit.png
    OUT/gtFine/<split>/<video>/<video>_000000_<frame>_gtFine_labelIds.png

the layout of Cityscapes, so that ``--data cityscapes:OUT`` trains on them. A threshold on the confidence is the
oldest of the selection rules and the one that needs no tuning by class (Lee 2013, "Pseudo-Label").
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from perception.errors import ConfigError, OutputError
from perception.files import write_whole
from perception.stages.prepare import prepare
from perception.types import VOID, Frame, Image, LabelMap, Size
from training.answers import Answer
from training.data.taxonomy import LABEL_ID_LIMIT, train_ids_from_label_ids


@dataclass(frozen=True, slots=True)
class Written:
    """One labelled frame: its number in the video, and the share of its pixels that the model was sure of."""

    frame: int
    sure: float


def city_of(video: str) -> str:
    """The name of the folder that a video's frames go to: letters and digits alone, as Cityscapes has it."""
    return re.sub(r"[^A-Za-z0-9]+", "", Path(video).stem) or "video"


def label_frames(
    frames: Iterable[Frame],
    answer: Answer,
    network_size: Callable[[Size], Size],
    out: Path,
    *,
    city: str,
    split: str,
    least: float,
) -> Iterator[Written]:
    """Write each frame and its labels; a pixel counts from the confidence ``least`` on, 0..1.

    Raises:
        ConfigError: the folder holds frames of this name already, or the model gives no confidence.
        OutputError: a file cannot be written.
    """
    images, labels = (out / kind / split / city for kind in ("leftImg8bit", "gtFine"))
    if images.exists() and any(images.iterdir()):
        raise ConfigError(f"{images} holds frames already; give another folder, or remove them.")
    for folder in (images, labels):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"Cannot make the folder {folder}: {error.strerror}.") from None
    ids = _label_ids()
    for frame in frames:
        found = ids[_sure_labels(frame.image, answer, network_size, least)]
        stem = f"{city}_000000_{frame.number:06}"
        # The labels first: a frame without labels would be an error in the data set, the other way round it is not.
        write_whole(labels / f"{stem}_gtFine_labelIds.png", _png(found))
        write_whole(images / f"{stem}_leftImg8bit.png", _png(frame.image))
        yield Written(frame.number, float((found > 0).mean()))


def _sure_labels(image: Image, answer: Answer, network_size: Callable[[Size], Size], least: float) -> LabelMap:
    """(H, W) train ids of the frame's own size, void where the model is not sure."""
    size = (image.shape[1], image.shape[0])
    labels, confidence = answer(prepare(image, network_size(size)), None)
    if confidence is None:
        raise ConfigError("The model gives no confidence, so there is no telling where it is sure; take another.")
    large = cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST_EXACT)
    sure = cv2.resize(confidence, size, interpolation=cv2.INTER_LINEAR) >= least
    return np.where(sure, large, VOID).astype(np.uint8)


def _label_ids() -> LabelMap:
    """(256,) u8 table from train id to Cityscapes labelId; 0, unlabelled, for void."""
    table, train_ids = np.zeros(256, np.uint8), train_ids_from_label_ids()
    for label_id in range(LABEL_ID_LIMIT):
        if train_ids[label_id] != VOID:
            table[train_ids[label_id]] = label_id
    return table


def _png(array: LabelMap | Image) -> bytes:
    return bytes(cv2.imencode(".png", array)[1])
