"""Are the scores of objects probabilities? How many of those with a score are right, and how to mend it.

    python benchmarks/calibration.py MODEL.onnx --data KIND:DIR[:SPLIT] [--size 1024x576] [--fit] [--out FILE]

An object is right if its mask and that of a true object of its class have an intersection over union above 0.5. Ones
that lie on void, or mostly on a true object smaller than --min-area pixels, do not count. By data set: the expected
calibration error over ten equal bins (Naeini, Cooper, Hauskrecht 2015), the Brier score, and a line a bin: mean score,
share of right ones, count. --fit prints the constants of ``perception/stages/calibration.py`` that these frames give;
take frames that the model has not learnt from, and judge them on others.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from perception.engines.open import open_engine
from perception.files import write_whole
from perception.stages.calibration import CONSTANT, OF_AREA, OF_SCORE, WHOLE_AREA
from perception.types import VOID, Instances, LabelMap
from training.data.datasets import open_dataset
from training.evaluate_objects import answers, engine_finder, enlarge, whole_masks
from training.metrics import InstanceTruth
from training.metrics.overlaps import NUMBERS, overlaps_of_ids, overlaps_of_masks

Floats = npt.NDArray[np.float64]
BINS = 10


def main() -> int:
    """Print a table for every data set, and the constants where they are asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--data", action="append", required=True, metavar="KIND:DIR[:SPLIT]")
    parser.add_argument("--size", default="1024x576", metavar="WxH", help="of the network (default: %(default)s)")
    parser.add_argument("--min-area", type=int, default=100, help="of true objects (default: %(default)s)")
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--fit", action="store_true")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    args = parser.parse_args()
    width, height = (int(side) for side in args.size.split("x"))
    result: dict[str, Any] = {}
    with closing(open_engine(args.engine, args.model, mode="latency")) as engine:
        find = engine_finder(engine, size=(width, height))
        for text in args.data:
            rows = [row for answer in answers(find, open_dataset(text)) for row in judged(*answer, args.min_area)]
            scores, areas, right = np.array(rows, np.float64).reshape(-1, 3).T
            name = text.split(":", 1)[0] + ":" + text.rsplit(":", 1)[-1]
            result[name] = reliability(scores, right)
            if args.fit:
                result[name]["constants"] = constants(scores, areas, right)
            show(name, result[name])
    if args.out:
        write_whole(args.out, json.dumps(result, indent=1) + "\n")
    return 0


def judged(
    truth: InstanceTruth, labels: LabelMap, found: Instances, min_area: int
) -> Iterator[tuple[float, float, float]]:
    """Score, area in map pixels, and 1.0 if it is right, of every object that counts."""
    shape, codes = truth.labels.shape, truth.codes()
    if found.ids is not None:
        overlaps = overlaps_of_ids(codes, enlarge(found.ids, shape), len(found))
    else:
        overlaps = overlaps_of_masks(codes, [enlarge(mask, shape) for mask in whole_masks(found, labels.shape)])
    is_object = overlaps.codes >= NUMBERS
    for k, (score, area, class_id) in enumerate(zip(found.scores, found.areas, found.class_ids)):
        shared = overlaps.shared[:, k]
        on = int(shared.argmax())
        if overlaps.codes[on] == VOID or (is_object[on] and overlaps.truth_areas[on] < min_area):
            continue
        same = is_object & (overlaps.codes // NUMBERS == class_id)
        union = np.maximum(overlaps.truth_areas + overlaps.areas[k] - shared, 1)
        yield float(score), float(area), float((shared[same] / union[same] > 0.5).any())


def reliability(scores: Floats, right: Floats) -> dict[str, Any]:
    """Expected calibration error, Brier score, and (mean score, share of right ones, count) of each bin."""
    of_bin = np.minimum((scores * BINS).astype(int), BINS - 1)
    bins = [
        (float(scores[inside].mean()), float(right[inside].mean()), int(inside.sum()))
        for inside in (of_bin == index for index in range(BINS))
        if inside.any()
    ]
    error = sum(count * abs(score - share) for score, share, count in bins) / max(len(scores), 1)
    return {"objects": len(scores), "ece": error, "brier": float(((scores - right) ** 2).mean()), "bins": bins}


def constants(scores: Floats, areas: Floats, right: Floats) -> list[float]:
    """The constants that fit best, by Newton's method; scores are those that the present ones made of raw ones."""
    size = np.log(np.minimum(1, areas / WHOLE_AREA))
    odds = np.log(np.clip(scores, 1e-7, 1 - 1e-7) / (1 - np.clip(scores, 1e-7, 1 - 1e-7)))
    raw = (odds - CONSTANT - OF_AREA * size) / OF_SCORE  # logarithms of raw scores
    inputs = np.stack([np.ones_like(raw), raw, size], axis=1)
    weights = np.array([CONSTANT, OF_SCORE, OF_AREA])
    for _ in range(30):
        chances = 1 / (1 + np.exp(-inputs @ weights))
        curvature = inputs.T * (chances * (1 - chances)) @ inputs + 1e-6 * np.eye(3)
        weights = weights + np.linalg.solve(curvature, inputs.T @ (right - chances))
    return [round(float(weight), 3) for weight in weights]


def show(name: str, found: dict[str, Any]) -> None:
    """A table for people."""
    print(f"{name}: {found['objects']} objects, calibration error {found['ece']:.3f}, Brier {found['brier']:.3f}")
    for score, share, count in found["bins"]:
        print(f"  score {score:.2f}  right {share:.2f}  of {count}")
    if "constants" in found:
        print("  CONSTANT, OF_SCORE, OF_AREA = {}, {}, {}".format(*found["constants"]))


if __name__ == "__main__":
    sys.exit(main())
