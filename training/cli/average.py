"""``roadcast-train average``: the mean of several models' weights."""

from __future__ import annotations

import argparse
import math
import tempfile
from pathlib import Path
from typing import Any

from perception.errors import ConfigError
from perception.files import check_folder, write_whole
from training.cli.quiet import load_keras


def add_parser(commands: Any) -> None:
    """Add the command to the parser of ``roadcast-train``."""
    parser = commands.add_parser(
        "average",
        help="average the weights of models",
        description="Write the model whose weights are the mean of those of several models of one network, such as two "
        "legs of one training, each counted by its share. Often better than each; measure it.",
    )
    parser.add_argument("models", nargs="+", type=read_share, metavar="MODEL.keras[=SHARE]", help="share: default 1")
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="OUT.keras")
    parser.set_defaults(run=run)


def read_share(text: str) -> tuple[Path, float]:
    """A file and its share from an argument."""
    name, equals, number = text.rpartition("=")
    if not equals:
        return Path(text), 1.0
    try:
        share = float(number)
    except ValueError:
        share = math.nan
    if not (name and 0 < share < math.inf):
        raise argparse.ArgumentTypeError(f"{text!r} is not MODEL.keras=SHARE with a share above 0, such as a.keras=0.5")
    return Path(name), share


def run(args: argparse.Namespace) -> int:
    """Average and write; returns the exit code."""
    if len(args.models) < 2:
        raise ConfigError("An average wants two models or more; one was given.")
    if args.out.suffix != ".keras":
        raise ConfigError(f"The file to write must end in .keras, got {args.out}.")
    check_folder(args.out)
    load_keras()
    from training.average import average

    model = average(args.models)
    with tempfile.TemporaryDirectory(prefix="roadcast-") as folder:
        whole = Path(folder) / "model.keras"
        model.save(whole)
        write_whole(args.out, whole.read_bytes())
    print(f"wrote {args.out}")
    return 0
