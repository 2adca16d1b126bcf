"""What keeps a centre head from telling objects apart: its parts are put right, one after another.

    python benchmarks/head_errors.py MODEL.keras --data KIND:DIR[:SPLIT] [--size 1280x384] [--min-area 100] [--out F]

Labels, the heat map's centres and the offsets are replaced by true ones, alone and together, and what is grouped of
them is scored each time. The row in which a true part helps most says what to work on; frames that the model has
learnt from beside others that it has not say whether it cannot learn it or cannot carry it over.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import cv2
import numpy as np

from perception.classes import CITYSCAPES
from perception.errors import ConfigError, RoadcastError
from perception.files import write_whole
from perception.types import VOID
from training.data.centres import ACROSS, CELL, DOWN, HEAT, WAY_WEIGHT, CentreTargets
from training.data.datasets import open_dataset
from training.evaluate_objects import enlarge, read_truth
from training.metrics import InstanceTally, InstanceTruth
from training.metrics.overlaps import NUMBERS
from training.models.saved import load_model
from training.objects import Answers, answers_of, figures_of, grouped_objects

PARTS = (
    (),
    ("labels",),
    ("centres",),
    ("offsets",),
    ("labels", "centres"),
    ("labels", "offsets"),
    ("centres", "offsets"),
    ("labels", "centres", "offsets"),
)
SURE = 8.0  # logit of a true centre
EVERY = CentreTargets(least=1)  # a true part is one for small objects, too


def main() -> int:
    """Print a line for every choice of parts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="a .keras model with a centre head")
    parser.add_argument("--data", required=True, metavar="KIND:DIR[:SPLIT]")
    parser.add_argument("--size", default="1280x384", metavar="WxH", help="whose pixels frames have (%(default)s)")
    parser.add_argument("--min-area", type=int, default=100, help="of true objects (default: %(default)s)")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    args = parser.parse_args()
    width, height = (int(side) for side in args.size.split("x"))
    try:
        result = errors_of(args.model, args.data, width * height, args.min_area)
    except RoadcastError as error:
        print(f"head_errors: {error}", file=sys.stderr)
        return error.exit_code
    for parts, figures in result.items():
        print(f"{parts:44}" + "  ".join(f"{name} {value:.3f}" for name, value in figures.items()))
    if args.out:
        write_whole(args.out, json.dumps(result, indent=1) + "\n")
    return 0


def errors_of(path: Path, data: str, pixels: int, min_area: int) -> dict[str, dict[str, float]]:
    """The figures by the parts that were put right.

    Raises:
        ConfigError: the model has no centre head, or the data set does not tell objects apart.
    """
    model = load_model(path)
    if "offsets" not in model.output_names:
        raise ConfigError(f"{path} has no centre head; its outputs are {', '.join(model.output_names)}.")
    tallies = [InstanceTally(min_area) for _ in PARTS]
    for pair in open_dataset(data):
        image, truth = read_truth(pair)
        answers = answers_of(model, image, pixels)
        for tally, parts in zip(tallies, PARTS):
            found = grouped_objects(put_right(answers, truth, parts))
            tally.add(truth, enlarge(found.ids, truth.labels.shape), found.class_ids, found.scores)
    return {
        " + ".join(f"true {part}" for part in parts) or "as it is": figures_of(tally.score())
        for tally, parts in zip(tallies, PARTS)
    }


def put_right(answers: Answers, truth: InstanceTruth, parts: tuple[str, ...]) -> Answers:
    """The answers with some of their parts replaced by what is true, at their sizes."""
    height, width = answers.labels.shape
    values = cv2.resize(truth.instances.astype(np.int32), (width, height), interpolation=cv2.INTER_NEAREST)
    is_object = values >= NUMBERS
    labels, maps = answers.labels, dict(answers.maps)
    if "labels" in parts:
        other = np.where(np.isin(labels, CITYSCAPES.thing_ids()), VOID, labels)
        labels = np.where(is_object, values // NUMBERS, other).astype(np.uint8)
    targets = EVERY.of(np.where(is_object, values, 0)[::CELL, ::CELL].astype(np.uint16))
    if "centres" in parts:
        maps["centres"] = np.where(targets[..., HEAT : HEAT + 1] == 1, SURE, -SURE).astype(np.float32)
    if "offsets" in parts:
        inside = targets[..., WAY_WEIGHT : WAY_WEIGHT + 1] > 0
        maps["offsets"] = np.where(inside, targets[..., DOWN : ACROSS + 1], maps["offsets"])
    return Answers(labels, answers.confidence, maps)


if __name__ == "__main__":
    sys.exit(main())
