"""The ``roadcast`` command."""

from __future__ import annotations

from collections.abc import Sequence

from perception import __version__
from perception.cli import run, sub, view
from perception.cli.command import Parser, dispatch


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    return dispatch(make_parser, argv)


def make_parser() -> Parser:
    """The parser of all commands. Each command's module adds its own, and imports what is heavy only when it runs."""
    parser = Parser(prog="roadcast", description="Segment driving video and publish label maps and object masks.")
    parser.add_argument("--version", action="version", version=f"roadcast {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for command in (run, sub, view):
        command.add_parser(commands)
    return parser
