"""``roadcast ctl``: asks a running node how it fares, or to pause, to go on, to change its model or its place."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from perception.cli.keys import add_client_flags, client_keys
from perception.errors import ConfigError

TIMEOUT_S = 5.0
LOAD_TIMEOUT_S = 300.0  # of a reload: some engines are compiled while they load
MAX_TIMEOUT_S = 86400.0
CONTROL_VARIABLE = "ROADCAST_CONTROL"
EPILOG = """\
Without --control and ROADCAST_CONTROL the one node of this user is found in its run folder.
Exit codes: 0 done; 2 it cannot be done as asked (no such stream, a model that does not fit);
3 no node was found or none answered in time, the node is busy, or it could not do it."""


def add_parser(commands: Any) -> None:
    """Add the command to the parser of ``roadcast``."""
    parser = commands.add_parser("ctl", help="ask a running node for its status, or to pause, resume, reload or seek")
    verbs = parser.add_subparsers(title="verbs", required=True, metavar="VERB")
    _verb(verbs, "status", "tell how the node fares")
    for name, text in (
        ("pause", "read recordings no further, and drop what cameras send; what is under way is still published"),
        ("resume", "go on after a pause"),
    ):
        _add_stream(_verb(verbs, name, text))
    reload = _verb(
        verbs, "reload", "change the model between two frames, once the new one is loaded; else the old one goes on"
    )
    reload.add_argument(
        "model", metavar="MODEL", nargs="?", help="its file, on the node's machine (default: the one it began with)"
    )
    seek = _verb(verbs, "seek", "go on at another place of a recording")
    seek.add_argument("seconds", metavar="TIME", nargs="?", help="media time: 75.5 or 1:15.5 or 0:01:15.5")
    seek.add_argument("--frame", type=int, metavar="N", help="the frame of this number in the recording, from 0")
    _add_stream(seek)


def _verb(verbs: Any, name: str, text: str) -> Any:
    verb = verbs.add_parser(
        name,
        help=text,
        description=f"{text[0].upper()}{text[1:]}.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verb.add_argument("--control", metavar="ENDPOINT", help="the node's control endpoint, if there are several nodes")
    limit = LOAD_TIMEOUT_S if name == "reload" else TIMEOUT_S
    verb.add_argument(
        "--timeout",
        type=float,
        default=limit,
        metavar="S",
        help="how long to wait for the answer (default: %(default)g)",
    )
    verb.add_argument("--json", action="store_true", help="print the answer as one JSON object")
    add_client_flags(verb)
    verb.set_defaults(run=run, command=name)
    return verb


def _add_stream(verb: Any) -> None:
    verb.add_argument("--stream", metavar="NAME", help="only this stream (default: all)")


def run(args: argparse.Namespace) -> int:
    """Ask, and print the answer. Raises what ``ask`` raises, and ConfigError for wrong arguments."""
    from perception.control.client import ask
    from perception.control.place import AUTO, NONE, find_endpoint
    from perception.control.text import answer_text

    if not 0 < args.timeout <= MAX_TIMEOUT_S:
        raise ConfigError(
            f"--timeout must be more than 0 and at most {MAX_TIMEOUT_S:.0f} seconds, got {args.timeout:g}."
        )
    given = args.control or os.environ.get(CONTROL_VARIABLE)
    endpoint = find_endpoint() if given in (None, "", AUTO, NONE) else given
    found = ask(endpoint, args.command, _arguments(args, endpoint), timeout_s=args.timeout, keys=client_keys(args))
    print(json.dumps(found, allow_nan=False) if args.json else answer_text(args.command, found))
    return 0


def _arguments(args: argparse.Namespace, endpoint: str) -> Mapping[str, object]:
    """The arguments of the request. Raises ConfigError for a wrong place."""
    if args.command == "status":
        return {}
    if args.command == "reload":
        return {} if args.model is None else {"model": _model_path(args.model, endpoint)}
    stream = {} if args.stream is None else {"stream": args.stream}
    return {**stream, **(_place(args) if args.command == "seek" else {})}


def _model_path(model: str, endpoint: str) -> str:
    """A relative path means the folder that we are in, where the node is on this machine."""
    from perception.engines.shipped import model_file
    from perception.wire.endpoint import is_loopback

    try:
        model.encode()
    except UnicodeEncodeError:
        raise ConfigError("The path of the model is no UTF-8. Rename the file.") from None
    if is_loopback(endpoint):
        return str(model_file(model).absolute())
    if not Path(model).is_absolute():
        raise ConfigError(f"The node is on another machine: give the whole path of {model!r} there.")
    return model


def _place(args: argparse.Namespace) -> dict[str, object]:
    if (args.seconds is None) == (args.frame is None):
        raise ConfigError("Where to? Give a media time, as in 'seek 1:15', or --frame N.")
    if args.frame is not None:
        if not 0 <= args.frame < 2**53:
            raise ConfigError(f"--frame must be a number from 0 on, got {args.frame}.")
        return {"frame": args.frame}
    parts = str(args.seconds).split(":")
    try:
        numbers = [*(float(int(part)) for part in parts[:-1]), float(parts[-1])]
    except ValueError:
        numbers = []
    if not 1 <= len(numbers) <= 3 or not all(0 <= part < 1e9 for part in numbers):
        raise ConfigError(f"{args.seconds!r} is no time: give seconds, or minutes and seconds as in 1:15.5.")
    return {"seconds": sum(part * 60**power for power, part in enumerate(reversed(numbers)))}
