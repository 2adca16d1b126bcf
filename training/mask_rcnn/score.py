"""Score a detector while it learns, and draw its curves."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from perception.classes import CITYSCAPES
from perception.geometry import fit_size
from perception.stages.pasting import pasted
from perception.stages.prepare import prepare
from perception.types import Detections, Image, Instances, LabelMap
from training.data.datasets import Pair
from training.evaluate import SCORE_PIXELS
from training.evaluate_objects import enlarge, read_truth, whole_masks
from training.mask_rcnn.network import MaskRCNN
from training.mask_rcnn.settings import THING_IDS
from training.metrics import InstanceTally
from training.objects import figures_of
from training.plots import plot_curves
from training.report import read_metrics, write_report

MIN_AREA = 100  # pixels of the image: smaller true objects are ignored
LEAST = 16  # pixels of the map: smaller objects are not reported


def find_objects(model: MaskRCNN, image: Image, pixels: int) -> tuple[LabelMap, Instances]:
    """Labels (h, w) at half the network's size, and the objects on them, as a node gives them.

    The frame (H, W, 3) u8 BGR is brought to about ``pixels`` pixels first.
    """
    height, width = image.shape[:2]
    frame = prepare(image, fit_size((width, height), pixels))
    maps = model(frame[None], training=False)
    found = [np.asarray(ops.convert_to_numpy(one))[0] for one in model.detect(maps, frame.shape[:2])]
    labels = np.asarray(ops.convert_to_numpy(maps[0]))[0].argmax(axis=-1).astype(np.uint8)
    scale = np.float32(labels.shape[0] / frame.shape[0])
    class_ids = np.array(THING_IDS, np.int32)[found[2]]
    return labels, pasted(Detections(found[0] * scale, found[1], class_ids, found[3]), labels, CITYSCAPES, least=LEAST)


def score_detector(held_out: Mapping[str, Sequence[Pair]]) -> Callable[[keras.Model], dict[str, Any]]:
    """What gives a model's figures by data set, as ``figures_of`` names them; see ``training.saver.Scorer``."""

    def score(model: keras.Model) -> dict[str, Any]:
        figures: dict[str, Any] = {}
        for name, pairs in held_out.items():
            tally = InstanceTally(MIN_AREA)
            for pair in pairs:
                image, truth = read_truth(pair)
                labels, found = find_objects(model, image, SCORE_PIXELS[pair.kind])
                masks = [enlarge(mask, truth.labels.shape) for mask in whole_masks(found, labels.shape)]
                tally.add_masks(truth, masks, found.class_ids, found.scores)
            figures |= {f"{name} {figure}": value for figure, value in figures_of(tally.score()).items()}
        return figures

    return score


@dataclass(frozen=True, slots=True)
class DetectorAlbum:
    """The curves in a run's folder, and the report that holds them."""

    folder: Path

    def draw(self, _model: keras.Model) -> None:
        """Draw both anew. Raises OutputError."""
        unit = "average precision at IoU 0.5"
        plot_curves(read_metrics(self.folder), self.folder / "curves.png", score="AP50", unit=unit)
        write_report(self.folder)
