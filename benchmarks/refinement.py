"""What refinement and smoothing gain and cost on labelled frames.

    roadcast-train export runs/fcn32s/model.keras -o fcn.onnx --id fcn32s --pixels 184320 --refine probabilities
    OMP_NUM_THREADS=1 python benchmarks/refinement.py fcn.onnx --data camvid:DIR:val [--every 4] [--smooth]

One thread. Maps are brought to the size of the labels first (480x360 for CamVid), as the bar of ten times the speed
is meant for that size; ``--own-size`` leaves them at the network's, as in the node. Milliseconds are of the
process' own time, which others on the machine disturb least, medians over the frames. ``--smooth`` takes the frames
as one clip and scores flicker as well; it wants every frame.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from perception.classes import CITYSCAPES
from perception.engines.engine import Engine
from perception.engines.open import open_engine
from perception.files import write_whole
from perception.refinement.mean_field import refine
from perception.refinement.reference import refine_by_reference
from perception.refinement.settings import CARD_KEY, CrfSettings
from perception.stages.prepare import prepare
from perception.stages.smooth import smoothed
from perception.types import VOID, CaptureTime, Frame, Image, LabelMap, Latency, Scene, Segmentation
from training.data.datasets import open_dataset, read_pair
from training.data.taxonomy import CAMVID_NAMES, camvid_from_train_ids, camvid_from_values
from training.metrics import BoundaryTally, FlickerTally, confusion_matrix, empty_confusion, mean_iou

FRAME_NS = 1_000_000_000 // 15  # CamVid's val split: every second frame of 30 a second
Method = Callable[[Segmentation, Image], Segmentation]


class Tally:
    """The scores of one method."""

    def __init__(self) -> None:
        self.confusion = empty_confusion(len(CAMVID_NAMES))
        self.boundary = BoundaryTally(len(CAMVID_NAMES))
        self.flicker = FlickerTally()
        self.taken: list[float] = []
        self.alike: list[float] = []  # with the reference

    def add(self, image: Image, labels: LabelMap, truth: LabelMap, *, clip: bool) -> None:
        height, width = truth.shape
        full = cv2.resize(labels, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
        merged = camvid_from_train_ids()[full]
        self.confusion += confusion_matrix(truth, merged, len(CAMVID_NAMES))
        self.boundary.add(truth, merged)
        if clip:
            self.flicker.add(image, merged, truth)

    def to_json(self, *, clip: bool) -> dict[str, float]:
        found = {"mean_iou": mean_iou(self.confusion), "boundary_f": self.boundary.mean()}
        if self.taken:
            found["ms"] = float(np.median(self.taken)) * 1000
        if self.alike:
            found["agreement"] = float(np.mean(self.alike))
        if clip:
            found |= {"flicker_of_truth": self.flicker.of_truth, "flicker_of_flow": self.flicker.of_flow}
        return {name: round(value, 4) for name, value in found.items()}


def main() -> None:
    """Print a table; with ``--out`` write the figures, too."""
    parser = argparse.ArgumentParser()
    parser.add_argument("model", type=Path)
    parser.add_argument("--data", required=True, metavar="camvid:DIR[:SPLIT]")
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--own-size", action="store_true")
    parser.add_argument("--smooth", action="store_true")
    parser.add_argument("--reference", action="store_true", help="pydensecrf2 as well")
    parser.add_argument("--weight", type=float, action="append", default=[], help="crf with another w1; repeatable")
    parser.add_argument("--lag", action="store_true", help="only: smooth the truth itself, and see what comes late")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    cv2.setNumThreads(1)
    if args.lag:
        for sure in (0.95, 0.7, 0.5):
            print(f"of changed pixels, right 0, 1, 2, 3 frames later, confidence {sure}:", *lag(args.data, sure))
        return
    with closing(open_engine("onnxruntime", args.model, mode="latency", threads=1)) as engine:
        found = measure(engine, args)
        result = {
            "command": f"OMP_NUM_THREADS=1 python benchmarks/refinement.py {args.model.name} {_options(args)}",
            "model": engine.spec.id,
            "refined_in_graph": engine.spec.card.get(CARD_KEY),
            "methods": found,
        }
    print(f"{'':32}{'mIoU':>8}{'F':>8}{'ms':>8}{'agree':>8}{'flicker':>9}{'of flow':>9}")
    keys = ("mean_iou", "boundary_f", "ms", "agreement", "flicker_of_truth", "flicker_of_flow")
    for name, scores in found.items():
        cells = [f"{scores[key]:.4g}" if key in scores else "-" for key in keys]
        print(f"{name:32}" + "".join(f"{cell:>{9 if i > 3 else 8}}" for i, cell in enumerate(cells)))
    if args.out:
        write_whole(args.out, json.dumps(result, indent=1) + "\n")


def measure(engine: Engine, args: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Scores by method, in the order of the table."""
    classes = len(CITYSCAPES)
    methods: dict[str, Method] = {"as the network says": lambda found, _: found}
    if args.reference:
        methods["crf-reference"] = lambda found, image: refine_by_reference(found, image, class_ids=range(classes))
    settings = CrfSettings()
    methods["crf"] = lambda found, image: refine(found, image, settings, classes=classes)
    if "probabilities" in engine.spec.outputs:
        methods["crf, labels and confidence only"] = lambda found, image: refine(
            replace(found, probabilities=None), image, settings, classes=classes
        )
    for weight in args.weight:
        weaker = replace(settings, weight=weight)
        methods[f"crf, w1 {weight:g}"] = lambda found, image, weaker=weaker: refine(  # type: ignore[misc]
            found, image, weaker, classes=classes
        )
    tallies = {name: Tally() for name in methods}
    kept: dict[str, list[Scene]] = {name: [] for name in methods}
    truths = []
    for number, pair in enumerate(open_dataset(args.data)[:: args.every]):
        image, values = read_pair(pair)
        truth = camvid_from_values()[values]
        truths.append(truth)
        found = answer(engine, image, own_size=args.own_size)
        height, width = found.labels.shape
        small = prepare(image, (width, height))
        results = {}
        for name, method in methods.items():
            started = time.process_time()
            results[name] = method(found, small)
            tallies[name].taken.append(time.process_time() - started)
            tallies[name].add(image, results[name].labels, truth, clip=args.smooth)
            captured = CaptureTime(0, number * FRAME_NS)
            kept[name].append(Scene(Frame("front", number, captured, image), Latency(0), results[name]))
        if args.reference:
            for name, result in results.items():
                tallies[name].alike.append(float((result.labels == results["crf-reference"].labels).mean()))
    scores = {name: tally.to_json(clip=args.smooth) for name, tally in tallies.items()}
    if args.smooth:
        for name in ("as the network says", "crf"):
            scores[f"{name}, smoothed"] = smooth(kept[name], truths)
    return scores


def smooth(scenes: Sequence[Scene], truths: Sequence[LabelMap]) -> dict[str, float]:
    """The same frames with their labels carried along."""
    tally = Tally()
    started = time.process_time()
    for scene, truth in zip(smoothed()(scenes), truths):
        tally.taken.append(time.process_time() - started)
        assert scene.segmentation is not None
        tally.add(scene.frame.image, scene.segmentation.labels, truth, clip=True)
        started = time.process_time()
    return tally.to_json(clip=True)


def lag(data: str, sure: float) -> list[float]:
    """Of the pixels whose true class changed, and stayed, the share that is right 0, 1, 2 and 3 frames later.

    The truth itself, every second pixel of it and with one confidence, stands for a network's answer: whatever
    differs was late.
    """
    scenes, truths = [], []
    for number, pair in enumerate(open_dataset(data)):
        image, values = read_pair(pair)
        truth = camvid_from_values()[values][::2, ::2].copy()
        truths.append(truth)
        maps = Segmentation(truth, np.full(truth.shape, round(sure * 255), np.uint8))
        scenes.append(Scene(Frame("front", number, CaptureTime(0, number * FRAME_NS), image), Latency(0), maps))
    found = [scene.segmentation.labels for scene in smoothed()(scenes) if scene.segmentation is not None]
    right = np.zeros((4, 2), np.int64)
    for number in range(1, len(truths) - 3):
        before, now = truths[number - 1 : number + 1]
        still = (now != before) & (now != VOID) & (before != VOID)
        for later in range(4):
            still = still & (truths[number + later] == now)
            right[later] += (found[number + later][still] == now[still]).sum(), still.sum()
    return [round(float(hit / all_of_them), 4) for hit, all_of_them in right]


def answer(engine: Engine, image: Image, *, own_size: bool) -> Segmentation:
    """What the network says, at its own size or that of the image."""
    height, width = image.shape[:2]
    outputs = engine.submit(prepare(image, engine.spec.network_size((width, height)))[None]).result()
    names = [name for name in ("labels", "confidence", "probabilities") if name in outputs]
    maps: dict[str, Any] = {name: outputs[name][0] for name in names}
    if own_size:
        return Segmentation(**maps)
    if "probabilities" not in maps:
        near = {n: cv2.resize(m, (width, height), interpolation=cv2.INTER_NEAREST_EXACT) for n, m in maps.items()}
        return Segmentation(**near)
    large = cv2.resize(np.moveaxis(maps["probabilities"], 0, -1).astype(np.float32), (width, height))
    labels = large.argmax(axis=-1).astype(np.uint8)
    assert VOID not in labels
    confidence = np.rint(large.max(axis=-1) * 255).astype(np.uint8)
    planes = np.ascontiguousarray(np.moveaxis(large, -1, 0), np.float16)
    return Segmentation(labels, confidence, probabilities=planes)


def _options(args: argparse.Namespace) -> str:
    kind, _, rest = args.data.partition(":")
    words = ["--data", f"{kind}:DIR:{rest.rpartition(':')[2]}"]
    words += ["--every", str(args.every)] if args.every != 1 else []
    words += [f"--{n.replace('_', '-')}" for n in ("own_size", "smooth", "reference") if getattr(args, n)]
    words += [f"--weight {weight:g}" for weight in args.weight]
    return " ".join(words)


if __name__ == "__main__":
    main()
