"""``roadcast-train parity``: compare a model with another."""

from __future__ import annotations

import argparse
from contextlib import closing
from pathlib import Path
from typing import Any


def add_parser(commands: Any) -> None:
    """Add the command to the parser of ``roadcast-train``."""
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
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Compare, print one line; returns 1 where the models differ."""
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
