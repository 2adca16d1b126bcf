"""``roadcast-train report``: draw the report of a run anew."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add_parser(commands: Any) -> None:
    """Add the command to the parser of ``roadcast-train``."""
    parser = commands.add_parser(
        "report",
        help="write the report of a run",
        description="Write report.html, with its curves, from what is in the folder of a run, finished or not.",
    )
    parser.add_argument("folder", type=Path, metavar="RUN")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write the page; returns the exit code."""
    from training.report import read_metrics, write_report

    lines = read_metrics(args.folder)
    if lines:
        from training.plots import plot_curves

        plot_curves(lines, args.folder / "curves.png")
    print(f"wrote {write_report(args.folder)}")
    return 0
