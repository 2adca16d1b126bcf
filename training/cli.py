"""The ``roadcast-train`` command."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import shlex
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perception import __version__
from perception.cli.command import Parser, dispatch
from perception.errors import ConfigError
from training import synth
from training.settings import FitConfig

# Keras, OpenCV and ONNX are imported by the commands that need them, so that --help, a wrong flag and a
# missing library are answered at once.
if TYPE_CHECKING:
    from training.data.datasets import Pair
    from training.evaluate import Score


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # TensorFlow greets on stderr
    return dispatch(make_parser, argv)


def make_parser() -> Parser:
    """The parser of all sub-commands."""
    parser = Parser(prog="roadcast-train", description="Train, measure and export models for roadcast.")
    parser.add_argument("--version", action="version", version=f"roadcast {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_fit(commands)
    _add_evaluate(commands)
    _add_export(commands)
    _add_parity(commands)
    synth.add_parser(commands)
    return parser


def _add_fit(commands: Any) -> None:
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
    parser.set_defaults(run=_fit)


def _parser_of(annotation: str) -> Any:
    return {"int": int, "float": float, "Size": _size, "Path": Path, "Path | None": Path}.get(annotation, str)


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    if not (width.isdigit() and height.isdigit()):
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form WIDTHxHEIGHT")
    return int(width), int(height)


def _pixels(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or int(text) < 32 * 32:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of pixels from {32 * 32}")
    return int(text)


def _fit(args: argparse.Namespace) -> int:
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
            f"{_score_name(text)} mIoU": round(evaluate(predict[pairs[0].kind], pairs).mean_iou, 4)
            for text, pairs in held_out.items()
        }

    print(f"wrote {fit(config, mixture, score, resume=args.resume)}")
    return 0


def _add_evaluate(commands: Any) -> None:
    parser = commands.add_parser("evaluate", help="score a model", description="Score a model on labelled images.")
    parser.add_argument("model", type=Path, metavar="MODEL(.onnx|.keras)")
    parser.add_argument("--data", action="append", required=True, metavar="KIND:DIR[:SPLIT]")
    parser.add_argument(
        "--pixels", type=_pixels, help="pixel budget of the network's input (default: the model card's)"
    )
    parser.add_argument("--engine", default="onnxruntime", help="engine for .onnx files (default: onnxruntime)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=_evaluate)


def _evaluate(args: argparse.Namespace) -> int:
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


def _add_export(commands: Any) -> None:
    parser = commands.add_parser(
        "export", help="write an ONNX file", description="Export a model as ONNX, with its card."
    )
    parser.add_argument("model", type=Path, metavar="MODEL.keras")
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="OUT.onnx")
    parser.add_argument("--id", required=True, help="name of the model, for headers and cards")
    parser.add_argument("--pixels", type=_pixels, required=True, help="default pixel budget of the network's input")
    parser.add_argument(
        "--label-stride", type=int, choices=(1, 2), default=2, help="network pixels per label (default 2)"
    )
    parser.add_argument(
        "--fact", action="append", default=[], metavar="KEY=TEXT", help="a line of the card: data, licence ..."
    )
    parser.add_argument(
        "--score", action="append", default=[], metavar="KIND:DIR[:SPLIT]", help="score the file on this"
    )
    parser.set_defaults(run=_export)


def _export(args: argparse.Namespace) -> int:
    facts: dict[str, object] = dict(_fact(text) for text in args.fact)
    if args.out.suffix != ".onnx":
        raise ConfigError(f"The file to write must end in .onnx, got {args.out}.")
    from training.data.datasets import open_dataset

    held_out = {text: open_dataset(text) for text in args.score}
    from perception.engines.open import open_engine
    from training.card import ModelCard, write_card
    from training.evaluate import engine_predictor, evaluate
    from training.export import export_onnx, replace_card
    from training.models.saved import load_model

    model = load_model(args.model)
    facts |= {"date": time.strftime("%Y-%m-%d"), "export": _export_command(args)}
    card = ModelCard(args.id, args.pixels, facts=facts)
    export_onnx(model, args.out, card, label_stride=args.label_stride)
    with closing(open_engine("onnxruntime", args.out, mode="latency")) as engine:
        scores = {_score_name(t): evaluate(engine_predictor(engine), p).to_json() for t, p in held_out.items()}
    if scores:
        card = dataclasses.replace(card, facts={**facts, "scores": scores})
        replace_card(args.out, card)
    print(f"wrote {args.out} and {write_card(card, args.out)}")
    return 0


def _fact(text: str) -> tuple[str, str]:
    key, separator, value = text.partition("=")
    if not separator or not key:
        raise ConfigError(f"A fact is given as KEY=TEXT, got {text!r}.")
    return key, value


def _export_command(args: argparse.Namespace) -> str:
    """The command as it stands on the card: without facts, which are there already, and without folders."""
    options = {"-o": args.out.name, "--id": args.id, "--pixels": args.pixels, "--label-stride": args.label_stride}
    words = ["roadcast-train", "export", args.model.name, *(str(w) for option in options.items() for w in option)]
    return shlex.join([*words, *(w for text in args.score for w in ("--score", _score_name(text)))])


def _score_name(text: str) -> str:
    """The data set without its folder: cards travel, folders do not."""
    kind, _, rest = text.partition(":")
    return f"{kind}:{rest.partition(':')[2] or 'train'}"


def _add_parity(commands: Any) -> None:
    parser = commands.add_parser(
        "parity",
        help="compare an ONNX file with its Keras model",
        description="Compare an ONNX file with its Keras model, frame by frame; the exit code is 1 where they differ.",
    )
    parser.add_argument("keras_model", type=Path, metavar="MODEL.keras")
    parser.add_argument("onnx_model", type=Path, metavar="MODEL.onnx")
    parser.add_argument("--data", required=True, metavar="KIND:DIR[:SPLIT]", help="frames to compare on")
    parser.add_argument("--engine", default="onnxruntime")
    parser.add_argument("--least", type=float, default=0.999, help="label agreement below which the exit code is 1")
    parser.set_defaults(run=_parity)


def _parity(args: argparse.Namespace) -> int:
    from training.data.datasets import open_dataset, read_pair

    pairs = open_dataset(args.data)
    from perception.engines.open import open_engine
    from training.models.saved import load_model
    from training.parity import compare

    with closing(open_engine(args.engine, args.onnx_model, mode="latency")) as engine:
        result = compare(load_model(args.keras_model), engine, (read_pair(pair)[0] for pair in pairs))
    print(
        f"{result.frames} frames: labels agree on {result.label_agreement:.4%} of pixels (worst frame "
        f"{result.worst_frame:.4%}), confidence differs by at most {result.confidence_difference:.2f}/255 in the mean"
    )
    return 0 if result.label_agreement >= args.least else 1
