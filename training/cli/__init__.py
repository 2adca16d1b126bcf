"""The ``roadcast-train`` command: one module a command.

Keras, OpenCV and ONNX are imported by the commands that need them, so that --help, a wrong flag and a
missing library are answered at once.
"""

from __future__ import annotations

from collections.abc import Sequence

from perception import __version__
from perception.cli.command import Parser, dispatch


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    return dispatch(make_parser, argv)


def make_parser() -> Parser:
    """The parser of all commands; each command's module adds its own."""
    from training.cli import average, degrade, evaluate, export, fit, parity, pseudo_label, report, restore, synth, wrap

    parser = Parser(prog="roadcast-train", description="Train, measure and export models for roadcast.")
    parser.add_argument("--version", action="version", version=f"roadcast {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for command in (fit, average, restore, degrade, report, evaluate, export, wrap, parity, pseudo_label, synth):
        command.add_parser(commands)
    return parser
