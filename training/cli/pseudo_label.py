"""``roadcast-train pseudo-label``: labels of a model's own making for unlabelled video."""

from __future__ import annotations

import argparse
import sys
from contextlib import ExitStack, closing
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from perception.errors import ConfigError
from perception.terminal import StatusLine
from training.cli.parity import open_answer
from training.cli.quiet import load_keras
from training.cli.texts import read_pixels


def add_parser(commands: Any) -> None:
    """Add the command to the parser of ``roadcast-train``."""
    parser = commands.add_parser(
        "pseudo-label",
        help="label a video where a model is sure",
        description="Write frames of a video with the labels that a model gives them where it is sure, as a data set "
        "in the layout of Cityscapes: train on it with --data cityscapes:DIR (or synth:DIR, whose scale suits frames "
        "about 640 pixels wide).",
    )
    parser.add_argument("model", type=Path, metavar="MODEL(.keras|.onnx)")
    parser.add_argument("video", metavar="VIDEO", help="a video, a folder of pictures, or whatever else a node watches")
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--least", type=float, default=0.9, help="confidence from which a pixel counts (default: 0.9)")
    parser.add_argument("--every", type=int, default=5, metavar="N", help="take every Nth frame (default: 5)")
    parser.add_argument("--frames", type=int, metavar="N", help="write at most N frames")
    parser.add_argument("--split", default="train", help="(default: train)")
    parser.add_argument("--engine", default="auto", help="engine for .onnx files (default: auto)")
    parser.add_argument("--pixels", type=read_pixels, help="pixel budget of the network's input")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Label the video; returns the exit code."""
    if not 0 <= args.least <= 1:
        raise ConfigError(f"--least must lie in 0..1, got {args.least}.")
    if args.every < 1 or (args.frames is not None and args.frames < 1):
        raise ConfigError("--every and --frames must be at least 1.")
    if not args.split.isidentifier():
        raise ConfigError(f"--split must be a word such as train, got {args.split!r}.")
    load_keras()
    from perception.geometry import fit_size
    from perception.ledger import Ledger
    from perception.sources.opening import open_source
    from training.evaluate import DEFAULT_PIXELS
    from training.pseudo_labels import city_of, label_frames

    line = StatusLine(sys.stderr)
    with ExitStack() as stack:
        answer, rule = open_answer(args.model, args.engine, args.pixels, stack)
        source = stack.enter_context(closing(open_source(args.video)))
        chosen = islice(source.frames(Ledger()), 0, None, args.every)
        stack.callback(line.clear)
        written = []
        for one in label_frames(
            islice(chosen, args.frames),
            answer,
            rule or partial(fit_size, pixels=args.pixels or DEFAULT_PIXELS),
            args.out,
            city=city_of(args.video),
            split=args.split,
            least=args.least,
        ):
            written.append(one.sure)
            line.show(f"frame {one.frame}: {len(written)} written, sure of {one.sure:.0%} of this one")
    if not written:
        raise ConfigError(f"{args.video} holds no frames.")
    print(f"wrote {len(written)} frames to {args.out}, sure of {sum(written) / len(written):.0%} of their pixels")
    return 0
