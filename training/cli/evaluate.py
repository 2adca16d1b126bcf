"""``roadcast-train evaluate``: score a model on labelled images."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perception.engines.shipped import model_file
from training.cli.object_scores import OBJECT_TASKS, check_object_flags, run_objects
from training.cli.quiet import load_keras
from training.cli.texts import read_pixels, read_size, score_names, whole, within

if TYPE_CHECKING:
    from training.data.datasets import Pair
    from training.evaluate import Predictor, Score
    from training.predictions import PredictionWriter


def add_parser(commands: Any) -> None:
    """Add the command to the parser of ``roadcast-train``."""
    parser = commands.add_parser("evaluate", help="score a model", description="Score a model on labelled images.")
    parser.add_argument("model", type=model_file, metavar="MODEL(.onnx|.keras)")
    parser.add_argument("--data", action="append", required=True, metavar="KIND:DIR[:SPLIT]", help="repeatable")
    parser.add_argument("--split", help="split of every --data that names none")
    parser.add_argument(
        "--task",
        choices=("labels", *OBJECT_TASKS),
        default="labels",
        help="labels: classes of pixels (the default); instances: average precision of objects; panoptic: quality of "
        "objects and stuff; tracking: objects over time, of synth:SEED,N. A node's own stages find them",
    )
    budget = parser.add_mutually_exclusive_group()
    budget.add_argument(
        "--pixels", type=read_pixels, help="pixel budget of the network's input (default: the model card's)"
    )
    budget.add_argument("--size", type=read_size, metavar="WxH", help="the network's input itself, such as 1248x384")
    parser.add_argument(
        "--min-area",
        type=whole(1),
        metavar="N",
        help="instances, tracking: true objects of fewer pixels of the image are ignored (default 100)",
    )
    parser.add_argument(
        "--min-score",
        type=within(0, 1),
        metavar="P",
        help="tracking: found objects of a lower score do not count in their frame (default 0.5)",
    )
    parser.add_argument("--engine", default="onnxruntime", help="engine for .onnx files (default: onnxruntime)")
    parser.add_argument("--boundary", action="store_true", help="score boundaries, too")
    parser.add_argument(
        "--flicker", action="store_true", help="score flicker, too: for data whose frames follow one another"
    )
    parser.add_argument(
        "--plots", type=Path, metavar="DIR", help="draw confusion matrix, classes and worst frames as PNG"
    )
    parser.add_argument(
        "--predictions",
        type=Path,
        metavar="DIR",
        help="write label id PNGs as the Cityscapes evaluation and its server take them; labels may be missing",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Score a model and print the result; returns the exit code."""
    check_object_flags(args)
    texts = [text if args.split is None or text.count(":") > 1 else f"{text}:{args.split}" for text in args.data]
    if args.task != "labels":
        return run_objects(args, texts)
    from training.data.datasets import open_dataset

    plots = {} if args.plots is None else {t: args.plots / n.replace(":", "-") for t, n in score_names(texts).items()}
    held_out = {text: open_dataset(text, labelled=args.predictions is None) for text in texts}
    from training.predictions import PredictionWriter

    writer = None if args.predictions is None else PredictionWriter(args.predictions)
    with _predictor(args) as predict:
        scores = {text: _score(args, pairs, predict, writer, plots.get(text)) for text, pairs in held_out.items()}
    if args.json:
        print(json.dumps({text: score.to_json() if score else None for text, score in scores.items()}))
        return 0
    for text, score in scores.items():
        _tell(text, score)
    if args.plots is not None:
        print(f"drew the pictures in {args.plots}")
    if args.predictions is not None:
        print(f"wrote the predictions to {args.predictions}")
    return 0


@contextmanager
def _predictor(args: argparse.Namespace) -> Iterator[Predictor]:
    load_keras()
    from training.evaluate import DEFAULT_PIXELS, engine_predictor, keras_predictor

    if args.model.suffix == ".onnx":
        from perception.engines.open import open_engine

        with closing(open_engine(args.engine, args.model, mode="latency")) as engine:
            yield engine_predictor(engine, args.size or args.pixels)
    else:
        from training.models.saved import load_model

        yield keras_predictor(load_model(args.model), args.size or args.pixels or DEFAULT_PIXELS)


def _score(
    args: argparse.Namespace,
    pairs: list[Pair],
    predict: Predictor,
    writer: PredictionWriter | None,
    plots: Path | None,
) -> Score | None:
    """Score one data set and write what was asked for; None if it has no labels at all."""
    from training.data.datasets import read_image
    from training.evaluate import Observer, evaluate

    labelled = [pair for pair in pairs if pair.labelled]
    observers: list[Observer] = []
    if writer is not None:
        for pair in pairs:
            if not pair.labelled:
                writer.write(pair, predict(read_image(pair)))
        observers.append(lambda pair, labels, _: writer.write(pair, labels))
    if not labelled:
        return None
    options = {"boundary": args.boundary, "flicker": args.flicker, "unlabelled": writer is not None}
    if plots is None:
        return evaluate(predict, labelled, observers=observers, **options)
    from training.score_plots import WorstFrames, plot_score

    worst = WorstFrames()
    score = evaluate(predict, labelled, observers=[*observers, worst], **options)
    if score.confusion.any():
        plot_score(score, worst, predict, plots)
    return score


def _tell(text: str, score: Score | None) -> None:
    from training.metrics import iou_per_class

    if score is None or not score.confusion.any():
        print(f"{text}: no pixel is labelled, so there is no score")
        return
    figures = score.to_json()
    print(f"{text}: mean IoU {score.mean_iou:.4f} over {score.images} images")
    for name, value in zip(score.names, iou_per_class(score.confusion)):
        print(f"  {name:14} {value:.4f}")
    for key in ("mean_dice", "pixel_accuracy", "mean_accuracy", "frequency_weighted_iou", "boundary_f"):
        if key in figures:
            print(f"  {key.replace('_', ' ')}: {figures[key]}")
    if score.flicker is not None:
        print("  flicker: {:.4f} where the truth stays, {:.4f} along optical flow".format(*score.flicker))
