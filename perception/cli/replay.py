"""``roadcast replay``: publishes a recording again, or runs a model on it again and compares."""

from __future__ import annotations

import argparse
import json
import math
import re
import select
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perception.cli.run import FLAGS, interrupted_by_signals
from perception.config import RULES, flag_of, load_config
from perception.errors import ConfigError, RoadcastError, Timeout

if TYPE_CHECKING:
    from perception.recording.reader import Recording
    from perception.recording.replay import Replayer
    from perception.terminal import StatusLine

PUBLISH = "tcp://127.0.0.1:5600"
TOLERANCE = "2%"
VERIFYING = ("engine", "device", "mode", "threads", "slots", "size", "min_object_area", "frames")
KEYS = ("curve_secret", "allow")
MAX_SPEED = 1000.0
STEP_S = 0.1
EPILOG = """\
    roadcast replay drive.mcap -x 2 -s 60 --loop
    roadcast replay drive.mcap --chaos drop=1%,jitter=20ms,blackout=5s@10s
    roadcast replay drive.mcap --verify mine.onnx --tolerance 1% --json

Chaos: 'drop' is the share of messages lost on the way, 'jitter' how late they may be, 'blackout=5s@10s' five seconds
of silence from the tenth on (repeat it for more), 'seed' another roll of the dice.
Exit codes: 0 fine, also after Ctrl-C; 1 --verify found more changes than allowed; 2 a wrong flag; 3 the recording is
damaged (what is readable is replayed first), or the endpoint is in use."""


def add_parser(commands: Any) -> None:
    """Add the command to the parser of ``roadcast``."""
    parser = commands.add_parser(
        "replay",
        help="publish a recording again, or verify a model on it",
        description="Publish what was recorded, bit for bit, at the present time; or verify a model on the pictures.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", metavar="FILE.mcap", help="a recording of 'roadcast record'")
    parser.add_argument("--json", action="store_true", help="print the report as one JSON object")
    play = parser.add_argument_group("publishing")
    play.add_argument("-x", "--speed", default="1", metavar="SPEED", help="2 is twice as fast; max does not wait")
    play.add_argument("-s", "--start", type=float, default=0.0, metavar="SECONDS", help="begin so far into it")
    play.add_argument("--loop", action="store_true", help="begin again at the end, as a new session")
    play.add_argument("--step", action="store_true", help="wait for Enter before every frame")
    play.add_argument("--publish", default=PUBLISH, metavar="ENDPOINT", help="where to publish (default: %(default)s)")
    play.add_argument("--insecure", action="store_true", help="publish beyond this machine, to anybody, unencrypted")
    for name in KEYS:
        play.add_argument(flag_of(name), metavar=FLAGS[name][0], help=FLAGS[name][1])
    play.add_argument(
        "--policy",
        choices=("wait", "drop_oldest"),
        help="a slow subscriber holds up the replay, or loses messages (default: wait with -x max and --step)",
    )
    play.add_argument("--wait-subscribers", type=int, default=0, metavar="N", help="begin when N subscribers are there")
    play.add_argument("--chaos", metavar="WHAT", help="a bad network on purpose; see below")
    verify = parser.add_argument_group("verifying")
    verify.add_argument(
        "--verify", nargs="?", const="", metavar="MODEL", help="an ONNX model; without a name the built-in one"
    )
    verify.add_argument(
        "--tolerance", metavar="SHARE", help=f"of pixels that may change (default: {TOLERANCE.replace('%', '%%')})"
    )
    verify.add_argument(
        "--object-tolerance",
        metavar="SHARE",
        help="of objects that may be missing or new (default: any; they are counted)",
    )
    verify.add_argument("--stream", metavar="NAME", help="which stream, where the recording has several")
    for name in VERIFYING:
        verify.add_argument(flag_of(name), dest=name, metavar=name.upper(), help="as for 'run'")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Replay or verify, print the report, and return the exit code. Raises RoadcastError for what cannot begin."""
    from perception.recording.reader import Recording
    from perception.terminal import StatusLine

    _check(args)
    line = StatusLine(sys.stderr)
    with Recording(Path(args.file)) as recording:
        if not recording.closed:
            line.note(
                f"{args.file} was cut off; it is read up to its last whole chunk. "
                f"'roadcast record --repair {args.file}' writes the index that other programs need."
            )
        try:
            return _verify(args, recording, line) if args.verify is not None else _replay(args, recording, line)
        finally:
            line.clear()


def share_from_text(text: str, flag: str) -> float:
    """``1%`` or ``0.01`` as 0.01. Raises ConfigError."""
    found = re.fullmatch(r"(\d+(?:\.\d*)?|\.\d+)(%?)", text.strip())
    share = float(found[1]) / (100 if found[2] else 1) if found else math.nan
    if not 0 <= share <= 1:
        raise ConfigError(f"{flag} must be a share such as 1% or 0.01, got {text!r}.")
    return share


def _check(args: argparse.Namespace) -> None:
    """Raise ConfigError for flags that do not go together."""
    from perception.recording.chaos import chaos_from_text

    if args.verify is None:
        for name in (*VERIFYING, "stream", "tolerance", "object_tolerance"):
            if getattr(args, name) is not None:
                raise ConfigError(f"{flag_of(name)} is for --verify.")
    elif args.loop or args.step or args.chaos is not None:
        raise ConfigError("--verify publishes nothing: leave --loop, --step and --chaos out.")
    if args.chaos is not None:
        chaos_from_text(args.chaos)  # refuses what it does not understand
    if args.step and args.loop:
        raise ConfigError("--step and --loop do not go together.")
    if not 0 <= args.start < math.inf:
        raise ConfigError(f"--start must be a number of seconds that is not negative, got {args.start:g}.")
    if args.wait_subscribers < 0:
        raise ConfigError(f"--wait-subscribers must not be negative, got {args.wait_subscribers}.")


def _speed(text: str) -> float:
    try:
        speed = math.inf if text == "max" else float(text)
    except ValueError:
        speed = math.nan
    if not (speed == math.inf and text == "max") and not 0 < speed <= MAX_SPEED:
        raise ConfigError(f"--speed must be 'max' or more than 0 and at most {MAX_SPEED:g}, got {text!r}.")
    return speed


def _verify(args: argparse.Namespace, recording: Recording, line: StatusLine) -> int:
    from perception.recording.verify import verify

    given = {name: text for name in VERIFYING if name in RULES and (text := getattr(args, name)) is not None}
    model = {"model": args.verify} if args.verify else {}
    report = verify(
        recording,
        args.stream,
        load_config(given | model | {"source": args.file, "pace": "max"}),
        tolerance=share_from_text(TOLERANCE if args.tolerance is None else args.tolerance, "--tolerance"),
        object_tolerance=(
            None if args.object_tolerance is None else share_from_text(args.object_tolerance, "--object-tolerance")
        ),
        show=line.show,
    )
    line.clear()
    print(json.dumps(report.to_json()) if args.json else report.text())
    return report.exit_code


def _replay(args: argparse.Namespace, recording: Recording, line: StatusLine) -> int:
    from perception.recording.chaos import chaos_from_text
    from perception.recording.replay import Replayer, metas_of
    from perception.wire.curve import ServerKeys
    from perception.wire.outlet import Outlet

    speed = _speed(args.speed)
    chaos = chaos_from_text(args.chaos) if args.chaos is not None else None
    streams = sorted({stream for stream, _ in recording.topics()})
    if not streams:
        next(recording.messages(), None)  # raises, and says what the file is instead
    length_s = (recording.end_ns - recording.start_ns) / 1e9
    if args.start > length_s:
        raise ConfigError(f"--start {args.start:g} lies behind the end: {args.file} is {length_s:.1f} s long.")
    policy = args.policy or ("wait" if speed == math.inf or args.step else "drop_oldest")
    interrupt = threading.Event()
    with interrupted_by_signals(interrupt):
        metas = metas_of(recording, streams)
        outlet = Outlet(
            args.publish,
            streams,
            lossless=policy == "wait",
            insecure=args.insecure,
            keys=ServerKeys.load(args.curve_secret, args.allow),
            stop=interrupt,
        )
        replayer = Replayer(outlet, metas, speed=speed, interrupt=interrupt, lossless=policy == "wait", chaos=chaos)
        line.note(f"Publishing {', '.join(streams)} of {args.file} ({length_s:.1f} s) at {outlet.endpoint}.")
        error, reason = _play(args, recording, replayer, interrupt, line), "end_of_source"
        replayer.close("interrupted" if interrupt.is_set() else "source_error" if error else reason)
    line.clear()
    count = replayer.count
    if args.json:
        print(json.dumps(asdict(count) | {"error": str(error) if error else None}))
    else:
        losses = f", {count.lost} lost on purpose" if count.lost else ""
        gaps = f", {count.gaps} messages missing in the recording" if count.gaps else ""
        print(f"{count.messages} messages, {count.frames} frames in {count.seconds:.1f} s{losses}{gaps}")
    if error is not None:
        print(f"roadcast: error: {error}", file=sys.stderr)
    return 0 if error is None else error.exit_code


def _play(
    args: argparse.Namespace,
    recording: Recording,
    replayer: Replayer,
    interrupt: threading.Event,
    line: StatusLine,
) -> RoadcastError | None:
    def tick() -> None:
        count = replayer.count
        line.show(f"replaying: {count.frames} frames, {count.messages} messages, {replayer.subscribers} subscribers")

    step = _step(replayer, interrupt, line) if args.step else None
    try:
        while replayer.subscribers < args.wait_subscribers and not interrupt.is_set():
            replayer.idle()
            line.show(f"waiting for subscribers: {replayer.subscribers} of {args.wait_subscribers}")
            interrupt.wait(STEP_S)
        while not interrupt.is_set():
            replayer.play(recording.messages(start_s=args.start), final=not args.loop, step=step, tick=tick)
            if not args.loop:
                break
    except Timeout:
        raise
    except RoadcastError as error:
        return error
    return None


def _step(replayer: Replayer, interrupt: threading.Event, line: StatusLine) -> Callable[[], bool]:
    """Waits for a line on standard input before each frame; its end ends the replay."""

    def step() -> bool:
        line.clear()
        print(f"frame {replayer.count.frames + 1}: Enter", end=" ", file=sys.stderr, flush=True)
        while not interrupt.is_set():
            replayer.idle()
            if select.select([sys.stdin], [], [], STEP_S)[0]:
                return bool(sys.stdin.readline())
        return False

    return step
