"""``roadcast-train export``: write the one ONNX file that every engine runs."""

from __future__ import annotations

import argparse
import dataclasses
import shlex
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from perception.errors import ConfigError
from training.cli.texts import read_pixels, score_name


def add_parser(commands: Any) -> None:
    """Add the command to the parser of ``roadcast-train``."""
    parser = commands.add_parser(
        "export", help="write an ONNX file", description="Export a model as ONNX, with its card."
    )
    parser.add_argument("model", type=Path, metavar="MODEL.keras")
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="OUT.onnx")
    parser.add_argument("--id", required=True, help="name of the model, for headers and cards")
    parser.add_argument("--pixels", type=read_pixels, required=True, help="default pixel budget of the network's input")
    parser.add_argument(
        "--label-stride", type=int, choices=(1, 2), default=2, help="network pixels per label (default 2)"
    )
    parser.add_argument(
        "--fact", action="append", default=[], metavar="KEY=TEXT", help="a line of the card: data, licence ..."
    )
    parser.add_argument(
        "--score", action="append", default=[], metavar="KIND:DIR[:SPLIT]", help="score the file on this"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write the file and its card; returns the exit code."""
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
        scores = {score_name(t): evaluate(engine_predictor(engine), p).to_json() for t, p in held_out.items()}
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
    return shlex.join([*words, *(w for text in args.score for w in ("--score", score_name(text)))])
