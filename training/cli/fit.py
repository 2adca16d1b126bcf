"""``roadcast-train fit``: train a network."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any

from training.cli.texts import score_name
from training.settings import FitConfig


def add_parser(commands: Any) -> None:
    """Add the command to the parser of ``roadcast-train``."""
    parser = commands.add_parser("fit", help="train a network", description="Train the light U-Net.")
    parser.add_argument(
        "--data", action="append", default=[], metavar="KIND:DIR[:SPLIT][=WEIGHT]", help="training data, repeatable"
    )
    parser.add_argument("--score", action="append", default=[], metavar="KIND:DIR[:SPLIT]", help="data to score on")
    parser.add_argument("--resume", action="store_true", help="go on with the run in --out")
    for field in dataclasses.fields(FitConfig):
        flag = "--" + field.name.replace("_", "-")
        needed = field.default is dataclasses.MISSING
        parser.add_argument(flag, type=_parser_of(str(field.type)), required=needed, default=argparse.SUPPRESS)
    parser.set_defaults(run=run)


def _parser_of(annotation: str) -> Any:
    return {"int": int, "float": float, "Size": _size, "Path": Path, "Path | None": Path}.get(annotation, str)


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    if not (width.isdigit() and height.isdigit()):
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form WIDTHxHEIGHT")
    return int(width), int(height)


def run(args: argparse.Namespace) -> int:
    """Train to the end; returns the exit code."""
    from training.data.datasets import open_dataset
    from training.data.mixture import open_mixture

    names = [field.name for field in dataclasses.fields(FitConfig)]
    config = FitConfig(**{name: getattr(args, name) for name in names if hasattr(args, name)})
    mixture = open_mixture(args.data)
    held_out = {text: open_dataset(text) for text in args.score}
    from training.evaluate import SCORE_PIXELS, evaluate, keras_predictor
    from training.fit import fit

    def score(model: Any) -> dict[str, float]:
        predict = {kind: keras_predictor(model, pixels) for kind, pixels in SCORE_PIXELS.items()}
        return {
            f"{score_name(text)} mIoU": round(evaluate(predict[pairs[0].kind], pairs).mean_iou, 4)
            for text, pairs in held_out.items()
        }

    print(f"wrote {fit(config, mixture, score, resume=args.resume)}")
    return 0
