"""The ``roadcast`` command.

Nothing but the signal is taken care of before the parts are imported, which can take seconds on a cold disk: a Ctrl-C
in that time ends the command as it does later, without a traceback.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from types import FrameType
from typing import TYPE_CHECKING

from perception import __version__
from perception.cli import INTERRUPTED

if TYPE_CHECKING:
    from perception.cli.command import Parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    watched = False
    try:
        watched = _watch()
        from perception.cli.command import dispatch

        parser = make_parser()
        if watched:
            signal.signal(signal.SIGINT, _interrupt)
        return dispatch(lambda: parser, argv)
    except KeyboardInterrupt:
        return INTERRUPTED
    finally:
        if watched:
            signal.signal(signal.SIGINT, signal.default_int_handler)


def make_parser() -> Parser:
    """The parser of all commands. Each command's module adds its own, and imports what is heavy only when it runs."""
    from perception.cli import bench, config, ctl, doctor, engine, keys, record, replay, run, sub, view
    from perception.cli.command import Parser

    parser = Parser(prog="roadcast", description="Segment driving video and publish label maps and object masks.")
    parser.add_argument("--version", action="version", version=f"roadcast {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for command in (run, ctl, sub, record, replay, view, engine, bench, doctor, config, keys):
        command.add_parser(commands)
    return parser


def _watch() -> bool:
    """Let SIGINT end the process at once; returns whether it does.

    A KeyboardInterrupt would not do: extension modules turn what is raised while they load into other errors.
    """
    # Where SIGINT is ignored, as in the background of a script, it stays so.
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        return False
    try:
        signal.signal(signal.SIGINT, _leave)
    except ValueError:  # not the main thread, which never gets a KeyboardInterrupt anyway
        return False
    return True


def _leave(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
    os._exit(INTERRUPTED)


def _interrupt(number: int, frame: FrameType | None) -> None:
    """KeyboardInterrupt, but the end at once while a library that a command needs is being loaded."""
    at = frame
    while at is not None:
        if at.f_code.co_filename.startswith("<frozen importlib"):
            _leave(number, frame)
        at = at.f_back
    raise KeyboardInterrupt
