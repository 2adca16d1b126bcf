"""``roadcast-train evaluate``: score a model on labelled images."""

from __future__ import annotations

import argparse
import json
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from training.cli.texts import read_pixels

if TYPE_CHECKING:
    from training.data.datasets import Pair
    from training.evaluate import Score


def add_parser(commands: Any) -> None:
    """Add the command to the parser of ``roadcast-train``."""
    parser = commands.add_parser("evaluate", help="score a model", description="Score a model on labelled images.")
    parser.add_argument("model", type=Path, metavar="MODEL(.onnx|.keras)")
    parser.add_argument("--data", action="append", required=True, metavar="KIND:DIR[:SPLIT]")
    parser.add_argument(
        "--pixels", type=read_pixels, help="pixel budget of the network's input (default: the model card's)"
    )
    parser.add_argument("--engine", default="onnxruntime", help="engine for .onnx files (default: onnxruntime)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Score a model and print the result; returns the exit code."""
    from training.data.datasets import open_dataset
    from training.metrics import iou_per_class

    scores = _scores(args, {text: open_dataset(text) for text in args.data})
    if args.json:
        print(json.dumps({text: result.to_json() for text, result in scores.items()}))
        return 0
    for text, result in scores.items():
        print(f"{text}: mean IoU {result.mean_iou:.4f} over {result.images} images")
        for name, value in zip(result.names, iou_per_class(result.confusion)):
            print(f"  {name:14} {value:.4f}")
    return 0


def _scores(args: argparse.Namespace, held_out: dict[str, list[Pair]]) -> dict[str, Score]:
    from training.evaluate import DEFAULT_PIXELS, engine_predictor, evaluate, keras_predictor

    if args.model.suffix == ".onnx":
        from perception.engines.open import open_engine

        with closing(open_engine(args.engine, args.model, mode="latency")) as engine:
            return {text: evaluate(engine_predictor(engine, args.pixels), pairs) for text, pairs in held_out.items()}
    from training.models.saved import load_model

    predict = keras_predictor(load_model(args.model), args.pixels or DEFAULT_PIXELS)
    return {text: evaluate(predict, pairs) for text, pairs in held_out.items()}
