"""``roadcast bench``: measures a node against what bounds it; ``roadcast bench compare``: two such results."""

from __future__ import annotations

import argparse
import json
import re
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from perception.cli import INTERRUPTED
from perception.cli.command import Parser
from perception.errors import ConfigError

SETTINGS = ("rate", "engine", "model", "size")  # those of a node that a benchmark takes as well
ROUNDS = 5
MIN_EFFECT = 5.0
EPILOG = """\
In every round, in turn: bare decoding, the bare engine, a plain serial loop, the node with its subscriber in another
process, and the node with recorded answers in place of its network. The other settings of a node (mode, threads,
device ...) are taken from the environment (ROADCAST_THREADS=1) or the file that ROADCAST_CONFIG names.
With --batch only the network is measured: the engine alone, one batch at a time (on a GPU by its own clock, else by
the wall's), and with all its slots in use; the floor follows from operations, bytes and the peak rates.
Without --rate the node is given frames as fast as it takes them. With it they are due at that rate, whether or not the
node is ready: latency counts from when a frame was due, and what nobody could take is dropped and counted.
'roadcast bench compare A.json B.json' compares two results; a file called 'compare' is given as './compare'.
Exit codes: 0 measured, 2 cannot be measured as asked, 3 something failed, 130 interrupted: then nothing is written."""
COMPARE_EPILOG = """\
A figure got worse or better where no difference lies outside the interval of its change (95 % for all judged figures
together, Student's t over the rounds). It is a regression where it is also at least the minimal effect worse.
Exit codes: 0 no regression, 1 at least one, 2 the two cannot be compared, 3 a file cannot be read."""


def add_parser(commands: Any) -> None:
    """Add the command to the parser of ``roadcast``."""
    parser: Parser = commands.add_parser(
        "bench",
        help="measure a node against what bounds it, or compare two measurements",
        description="Measure frames a second, latency, every stage, losses and memory of a node.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "source", metavar="SOURCE", nargs="?", help="a video file or synth://street?... (default: a rendered street)"
    )
    parser.add_argument("--rate", metavar="N", help="frames a second that are due (default: full speed)")
    parser.add_argument(
        "--frames", metavar="N", help="frames to count in a round, 30 or more (default: 300, or what the file has)"
    )
    parser.add_argument(
        "--rounds", metavar="N", default=str(ROUNDS), help=f"how often (default: {ROUNDS}; compare needs three)"
    )
    parser.add_argument("--engine", metavar="NAME", help="as for 'roadcast run' (default: auto)")
    parser.add_argument("--model", metavar="FILE", help="ONNX model (default: the one that comes with roadcast)")
    parser.add_argument("--size", metavar="WxH|PIXELS", help="size of the network's input (default: the model's)")
    parser.add_argument(
        "--batch",
        metavar="N[,N...]",
        help="measure the network alone in batches of so many frames, at each of the sizes in --size (WxH,WxH...)",
    )
    parser.add_argument("--seconds", metavar="S", type=float, help="with --batch: for each figure (3)")
    parser.add_argument(
        "--peak", metavar="TFLOPS,GBPS", help="with --batch: peak rates of the device, where they are not known"
    )
    parser.add_argument("-o", "--out", metavar="FILE.json", help="keep the whole result, for compare")
    parser.add_argument("--json", action="store_true", help="print the whole result instead of a table")
    parser.set_defaults(run=run)
    _add_compare(parser.add_verb("compare", description="Compare two results of 'roadcast bench', B against A."))


def _add_compare(parser: Parser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = COMPARE_EPILOG
    parser.add_argument("before", metavar="A.json", help="the result to compare with")
    parser.add_argument("after", metavar="B.json", help="the result in question")
    parser.add_argument(
        "--min-effect",
        metavar="PERCENT",
        type=float,
        default=MIN_EFFECT,
        help=f"what is worse by less is no regression (default: {MIN_EFFECT:g})",
    )
    parser.add_argument("--force", action="store_true", help="compare even what differs in more than the node")
    parser.add_argument("--json", action="store_true", help="print the comparison as JSON")
    parser.set_defaults(run=run_compare)


def run(args: argparse.Namespace) -> int:
    """Measure, print, and keep the result; returns the exit code.

    Raises:
        RoadcastError: something cannot be measured as asked, or failed.
    """
    if args.batch is not None:
        from perception.cli.bench_networks import run_networks

        return run_networks(args)
    for flag, value in (("--peak", args.peak), ("--seconds", args.seconds)):
        if value is not None:
            raise ConfigError(f"{flag} goes with --batch.")
    from perception.bench.bench import LEAST_FRAMES, Wish, bench
    from perception.bench.result import to_text, write
    from perception.bench.table import table
    from perception.config import load_config
    from perception.engines.open import check_name
    from perception.engines.shipped import model_file, no_such_model
    from perception.files import check_folder, temporary_beside
    from perception.terminal import StatusLine

    given = {name: getattr(args, name) for name in SETTINGS if getattr(args, name) is not None}
    pace = "max" if args.rate is None else "real"
    config = load_config({"source": args.source or "synth://street", "pace": pace, **given})
    frames = None if args.frames is None else _whole("--frames", args.frames, LEAST_FRAMES)
    rounds = _whole("--rounds", args.rounds, 1)
    # What cannot be had is told now, not in minutes.
    check_name(config.engine)
    if config.model is not None and not model_file(config.model).is_file():
        raise no_such_model(config.model)
    if args.out:
        check_folder(Path(args.out))
        temporary_beside(Path(args.out)).unlink()  # so is a folder that may not be written to
    command = "roadcast bench " + " ".join(_without_folder(word) for word in sys.argv[2:])
    wish = Wish(source=args.source, config=config, frames=frames, rounds=rounds, command=command.strip())
    line = StatusLine(sys.stderr)
    with _terminated_as_interrupted():
        try:
            result = bench(wish, line)
        except KeyboardInterrupt:
            line.note("roadcast: interrupted; what was measured is thrown away")
            return INTERRUPTED
        finally:
            line.clear()
    print(to_text(result).rstrip() if args.json else table(result), flush=True)  # seen even if the file then fails
    if args.out:
        write(Path(args.out), result)
    return 0


def run_compare(args: argparse.Namespace) -> int:
    """Compare, print, and return the exit code.

    Raises:
        RoadcastError: a file cannot be read, or the two cannot be compared.
    """
    from perception.bench.compare import compare
    from perception.bench.comparison_table import comparison_table
    from perception.bench.result import read

    if not 0 <= args.min_effect <= 1000:
        raise ConfigError(f"--min-effect must lie in 0..1000 percent, got {args.min_effect:g}.")
    before, after = read(Path(args.before)), read(Path(args.after))
    found = compare(before, after, min_effect=args.min_effect / 100, force=args.force)
    if args.json:
        print(json.dumps(found.to_json(), indent=1, allow_nan=False))
    else:
        print(comparison_table(found, (Path(args.before).name, Path(args.after).name)))
    return 1 if found.regressions else 0


def _whole(flag: str, text: str, least: int) -> int:
    if not re.fullmatch(r"\d{1,9}", text) or int(text) < least:
        raise ConfigError(f"{flag} must be a whole number of at least {least}; got {text!r}.")
    return int(text)


def _without_folder(word: str) -> str:
    """Where files lie on the machine that measured is no part of the result."""
    return word if "://" in word else Path(word).name or word


@contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """While inside, SIGTERM ends the measurement as Ctrl-C does: with it its children, which must not outlive it."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
