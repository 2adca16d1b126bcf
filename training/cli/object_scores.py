"""What ``roadcast-train evaluate`` does for the tasks whose subject is objects."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from perception.errors import ConfigError

if TYPE_CHECKING:
    from training.evaluate_objects import Find
    from training.metrics import InstanceScore, PanopticScore
    from training.metrics.tracking import TrackingScore

    Score = InstanceScore | PanopticScore | TrackingScore

OBJECT_TASKS = ("instances", "panoptic", "tracking")
_OF_AREA = ("instances", "tracking")


def check_object_flags(args: argparse.Namespace) -> None:
    """Refuse flags that the task has no use for.

    Raises:
        ConfigError: there is one, or the model is no ONNX file.
    """
    if args.min_score is not None and args.task != "tracking":
        raise ConfigError("--min-score is for --task tracking: other scores rank objects, or take all of them.")
    if args.task == "labels":
        if args.min_area is not None:
            raise ConfigError("--min-area is for --task instances and tracking: classes of pixels have no objects.")
        return
    unused = [flag for flag in ("boundary", "flicker", "plots", "predictions") if getattr(args, flag)]
    if unused:
        raise ConfigError(f"--{unused[0]} is for --task labels; --task {args.task} has no use for it.")
    if args.min_area is not None and args.task not in _OF_AREA:
        raise ConfigError(f"--min-area is for --task instances and tracking; --task {args.task} has no use for it.")
    if args.model.suffix != ".onnx":
        raise ConfigError(
            f"--task {args.task} runs a model as a node does, and a node runs .onnx files; got {args.model.name}. "
            "Write one with `roadcast-train export`."
        )


def run_objects(args: argparse.Namespace, texts: list[str]) -> int:
    """Score objects and print the result; returns the exit code."""
    scores = _tracking_scores(args, texts) if args.task == "tracking" else _object_scores(args, texts)
    if args.json:
        print(json.dumps({text: score.to_json() for text, score in scores.items()}))
        return 0
    for text, score in scores.items():
        print("\n".join(_lines(text, score)))
    return 0


def _object_scores(args: argparse.Namespace, texts: list[str]) -> Mapping[str, Score]:
    from training.data.datasets import open_dataset
    from training.data.instances import require_instances
    from training.evaluate_objects import score_instances, score_panoptic
    from training.metrics.instances import MIN_AREA

    data = {text: open_dataset(text) for text in texts}
    for text, pairs in data.items():
        require_instances(text, pairs)
    with _finder(args) as find:
        if args.task == "panoptic":
            return {text: score_panoptic(find, pairs) for text, pairs in data.items()}
        area = args.min_area or MIN_AREA
        return {text: score_instances(find, pairs, min_area=area) for text, pairs in data.items()}


def _tracking_scores(args: argparse.Namespace, texts: list[str]) -> Mapping[str, Score]:
    from training.data.rendered import drive_of
    from training.evaluate_tracks import MIN_SCORE, score_tracks
    from training.metrics.instances import MIN_AREA

    drives = {text: drive_of(text) for text in texts}
    with _finder(args) as find:
        score = MIN_SCORE if args.min_score is None else args.min_score
        return score_tracks(find, drives, min_area=args.min_area or MIN_AREA, min_score=score)


@contextmanager
def _finder(args: argparse.Namespace) -> Iterator[Find]:
    from perception.engines.open import open_engine
    from training.evaluate_objects import engine_finder

    with closing(open_engine(args.engine, args.model, mode="latency")) as engine:
        yield engine_finder(engine, size=args.size or args.pixels)


def _lines(text: str, score: Score) -> Iterator[str]:
    from perception.classes import CITYSCAPES
    from training.metrics import InstanceScore
    from training.metrics.tracking import TrackingScore

    if isinstance(score, InstanceScore):
        yield from _instance_lines(text, score)
        return
    if isinstance(score, TrackingScore):
        yield f"{text}: IDF1 {score.idf1:.4f}, MOTA {score.mota:.4f}, HOTA {score.hota:.4f} over {score.frames} frames"
        yield f"  HOTA is of detection {score.deta:.4f} and association {score.assa:.4f}"
        yield f"  {score.tracks} tracks, {score.found_tracks} found; {score.switches} switches of identity"
        return
    total = score.mean()
    yield f"{text}: PQ {total[0]:.4f} over {score.images} images"
    yield "                      PQ     SQ     RQ"
    rows = [("all", total), ("things", score.mean(things=True)), ("stuff", score.mean(things=False))]
    rows += [(row.name, values) for row, values in zip(CITYSCAPES.rows, score.quality()) if values[0] >= 0]
    for name, values in rows:
        yield f"  {name:14}" + "".join(f" {value:6.4f}" for value in values)


def _instance_lines(text: str, score: InstanceScore) -> Iterator[str]:
    from perception.classes import CITYSCAPES

    ap, ap50 = _figure(score.mean()), _figure(score.mean(score.ap[:, :1]))
    yield f"{text}: AP {ap}, AP50 {ap50} over {score.images} images, {score.objects.sum()} objects"
    yield "                 objects     AP   AP50  1000 px and more"
    for class_id, count, row, large in zip(score.class_ids, score.objects, score.ap, score.ap_large):
        if count:
            cells = " ".join(f"{_figure(value):>6}" for value in (row.mean(), row[0], large.mean()))
            yield f"  {CITYSCAPES.name(class_id):14} {count:7} {cells}"
    for metres, values in score.ap_near.items():
        yield f"  AP within {metres:g} m: {_figure(score.mean(values))}"
    pairs, apart, together = sum(score.touching.pairs.values()), score.touching.share, score.touching.share_together
    told = f"  touching pairs: {apart:.4f} of {pairs} separated, {together:.4f} run together"
    yield told if pairs else "  no two objects touch"


def _figure(value: float) -> str:
    return f"{value:.4f}" if math.isfinite(value) else "-"  # no object that it could be of
