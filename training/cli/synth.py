"""``roadcast-train synth``: render a data set."""

from __future__ import annotations

import argparse
import json
import os
import re
from pathlib import Path
from typing import Any

from perception.errors import ConfigError
from perception.synth.options import WEATHERS, Weather, hint, parse_size
from training.synth import Order, render_split


def add_parser(commands: Any) -> None:
    """Add the command to the parser of ``roadcast-train``."""
    parser = commands.add_parser(
        "synth",
        help="render training data",
        description="Render frames of the synthetic street with exact labels, in the folder layout of Cityscapes. "
        "Frames that are already there are kept, so an interrupted run is resumed by the same command.",
    )
    parser.add_argument("out", type=Path, metavar="OUT", help="folder to write; new, empty, or written by this command")
    parser.add_argument("--frames", type=int, default=400, help="frames in all (default %(default)s)")
    parser.add_argument("--seeds", default="100..199", metavar="A..B", help="streets to take (default %(default)s)")
    parser.add_argument("--size", default="1024x512", metavar="WxH", help="default %(default)s")
    parser.add_argument(
        "--weather", default=",".join(WEATHERS), metavar="A,B,...", help="repeat one to have more of it (default all)"
    )
    parser.add_argument("--split", default="train", choices=("train", "val", "test"), help="default %(default)s")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes (default: one per core)")
    parser.add_argument("--overwrite", action="store_true", help="render the whole split anew")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Render what is missing, print a report, return the exit code.

    Raises:
        ConfigError: a wrong value, or a folder that holds something else.
        RoadcastError: a file cannot be written.
    """
    if not 1 <= args.workers <= 256:
        raise ConfigError(f"--workers must be within 1..256, got {args.workers}.")
    order = Order(args.split, args.frames, _seeds(args.seeds), parse_size(args.size), _weathers(args.weather))
    report = render_split(args.out, order, workers=args.workers, overwrite=args.overwrite)
    text = f"{args.out}: {report['rendered']} frames rendered, {report['kept']} kept, split {order.split}."
    print(json.dumps(report) if args.json else text)
    return 0


def _seeds(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d{1,9})(?:\.\.(\d{1,9}))?", text)
    if match is None:
        raise ConfigError(f"--seeds must be FIRST..LAST such as 100..199, got {text!r}.")
    return int(match[1]), int(match[2] or match[1])


def _weathers(text: str) -> tuple[Weather, ...]:
    found: list[Weather] = []
    for name in text.split(","):
        known = [weather for weather in WEATHERS if weather == name]
        if not known:
            raise ConfigError(f"--weather takes {', '.join(WEATHERS)}; got {name!r}." + hint(name, WEATHERS))
        found.extend(known)
    return tuple(found)
