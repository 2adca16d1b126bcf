"""``roadcast-train parity``: compare a model with another."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from training.cli.quiet import load_keras
from training.cli.texts import read_pixels

if TYPE_CHECKING:
    from perception.types import Size
    from training.answers import Answer

    Opened = tuple[Answer, Callable[[Size], Size] | None]


def add_parser(commands: Any) -> None:
    """Add the command to the parser of ``roadcast-train``."""
    parser = commands.add_parser(
        "parity",
        help="compare two models",
        description="Compare an ONNX file with its Keras model, or any two models, frame by frame; "
        "the exit code is 1 where they differ.",
    )
    parser.add_argument("one", type=Path, metavar="MODEL(.keras|.onnx)")
    parser.add_argument("other", type=Path, metavar="MODEL(.onnx|.keras)")
    parser.add_argument("--data", required=True, metavar="KIND:DIR[:SPLIT]", help="frames to compare on")
    parser.add_argument("--engine", default="onnxruntime", help="engine for .onnx files (default: onnxruntime)")
    parser.add_argument("--pixels", type=read_pixels, help="size of the frames (default: that of the .onnx files)")
    parser.add_argument("--least", type=float, default=0.999, help="label agreement below which the exit code is 1")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Compare, print one line; returns 1 where the models differ."""
    from training.data.datasets import open_dataset, read_pair

    pairs = open_dataset(args.data)
    load_keras()
    from perception.geometry import fit_size
    from training.evaluate import DEFAULT_PIXELS
    from training.parity import compare

    with ExitStack() as stack:
        (one, rule), (other, other_rule) = (
            open_answer(path, args.engine, args.pixels, stack) for path in (args.one, args.other)
        )
        size = other_rule or rule or partial(fit_size, pixels=args.pixels or DEFAULT_PIXELS)
        result = compare(one, other, (read_pair(pair)[0] for pair in pairs), size)
    print(
        f"{result.frames} frames: labels agree on {result.label_agreement:.4%} of pixels (worst frame "
        f"{result.worst_frame:.4%}), confidence differs by at most {result.confidence_difference:.2f}/255 in the mean"
    )
    return 0 if result.label_agreement >= args.least else 1


def open_answer(path: Path, engine_name: str, pixels: int | None, stack: ExitStack) -> Opened:
    """What the model answers, and its rule for the size of frames if it has one."""
    from training.answers import engine_answer, keras_answer

    if path.suffix == ".onnx":
        from perception.engines.open import open_engine

        engine = stack.enter_context(closing(open_engine(engine_name, path, mode="latency")))
        return engine_answer(engine), partial(engine.spec.network_size, pixels=pixels)
    from training.models.saved import load_model

    return keras_answer(load_model(path)), None
