"""``roadcast record``: writes what a node publishes into an MCAP file."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perception.cli.keys import client_keys
from perception.cli.run import add_settings, interrupted_by_signals
from perception.cli.sub import MAX_TIMEOUT_S
from perception.cli.view import ENDPOINT_SCHEMES
from perception.config import RULES, NodeConfig, load_config
from perception.errors import ConfigError, OutputError, RoadcastError, SourceError, SourceNotFound
from perception.wire.curve import ClientKeys, ServerKeys
from perception.wire.topic import FRAME_KINDS, check_kind

if TYPE_CHECKING:
    from perception.recording.record import Recorder, RecordReport

KINDS = ("labels", "objects", "image")
QUEUE = 1024  # messages that may wait while the disk is busy
PUMP_S = 0.3
TIMEOUT_S = 10.0
EPILOG = """\
    roadcast record tcp://127.0.0.1:5600 -o drive.mcap      of a running node
    roadcast record dashcam.mp4 -o drive.mcap --pace max    runs a node on the source and records it

The file can be read at any moment, also after kill -9: all but the last half second is in it. Foxglove and Rerun
open it. 'roadcast record --repair drive.mcap' writes the index that a killed recorder could not write.
Exit codes: 0 the stream ended, or Ctrl-C; 1 --repair found damaged chunks; 2 a wrong flag, or the file exists;
3 nothing arrived for --timeout seconds, the source failed, or the disk is full: what was written before is whole."""


def add_parser(commands: Any) -> None:
    """Add the command to the parser of ``roadcast``."""
    parser = commands.add_parser(
        "record",
        help="record what a node publishes into an MCAP file",
        description="Record a running node, or run one on a source and record it, into an MCAP file.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "source",
        metavar="ENDPOINT|SOURCE",
        nargs="?",
        help="tcp://HOST:PORT or ipc://PATH of a running node; or a video, folder, camera or address as for 'run'",
    )
    parser.add_argument("-o", "--out", metavar="FILE.mcap", help="the recording")
    parser.add_argument("--overwrite", action="store_true", help="replace a file of that name")
    parser.add_argument(
        "--kind",
        action="append",
        metavar="KIND",
        help=f"{' '.join(FRAME_KINDS)}, or all; repeat for more (default: {', '.join(KINDS)}); meta, status and event "
        "are always recorded",
    )
    parser.add_argument(
        "--plain", action="store_true", help="without the channels in Foxglove's schemas: half the size"
    )
    parser.add_argument("--sync", action="store_true", help="wait for the disk: a power cut loses no more than a kill")
    parser.add_argument("--repair", metavar="FILE.mcap", help="write the index of a file that was cut off, and end")
    parser.add_argument("--json", action="store_true", help="print the report as one JSON object")
    running = parser.add_argument_group("of a running node")
    running.add_argument(
        "--stream", action="append", metavar="NAME", help="stream to record; repeat for more, or all (default: front)"
    )
    running.add_argument(
        "--timeout",
        type=float,
        default=TIMEOUT_S,
        metavar="SECONDS",
        help="end when nothing comes for so long (default: %(default)g)",
    )
    running.add_argument("--curve-server", metavar="FILE", help="public key of the node; yours: --curve-secret")
    running.add_argument("--follow", action="store_true", help="never end: wait for the node to come back")
    source = parser.add_argument_group("of a source: as for 'run'")
    add_settings(source, but="stream")
    source.add_argument("--config", metavar="FILE", help="TOML file with settings")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Record, print the report, and return the exit code. Raises RoadcastError for what cannot begin."""
    if args.repair is not None:
        return _repair(Path(args.repair), as_json=args.json)
    if not args.source and not args.config:
        raise ConfigError("Nothing to record: give the endpoint of a running node, or a source as for 'run'.")
    if not args.out:
        raise ConfigError("Give the file to record to with -o FILE.mcap.")
    if not 0 < args.timeout <= MAX_TIMEOUT_S:
        raise ConfigError(f"--timeout must be more than 0 and at most {MAX_TIMEOUT_S:.0f} s, got {args.timeout:g}.")
    kinds = FRAME_KINDS if args.kind and "all" in args.kind else tuple(check_kind(k) for k in args.kind or KINDS)
    given = {name: text for name in RULES if name not in ("source", "stream") and (text := getattr(args, name))}
    interrupt = threading.Event()
    with interrupted_by_signals(interrupt):
        if (args.source or "").startswith(ENDPOINT_SCHEMES):
            own = {"curve_secret"}  # of the client, where the node runs already
            for name in [*(name for name in given if name not in own), *(["config"] if args.config else [])]:
                raise ConfigError(f"--{name.replace('_', '-')} is for a source; {args.source} is a node that runs.")
            report = _record_endpoint(args, kinds, interrupt)
        else:
            report = _record_source(args, given, kinds, interrupt)
    print(json.dumps(report.to_json()) if args.json else report.text())
    if report.error:
        print(f"roadcast: error: {report.error}", file=sys.stderr)
    return report.exit_code


def _record_endpoint(args: argparse.Namespace, kinds: tuple[str, ...], interrupt: threading.Event) -> RecordReport:
    from perception.terminal import StatusLine

    streams = None if args.stream and "all" in args.stream else tuple(args.stream or ("front",))
    line, error = StatusLine(sys.stderr), None
    with _recorder(args, args.source, streams, kinds, client_keys(args)) as recorder:
        try:
            while not (recorder.ended or interrupt.is_set()):
                recorder.pump(PUMP_S)
                line.show(recorder.progress())
                if recorder.silent_s > args.timeout and not args.follow:
                    error = recorder.silence(args.timeout)
                    break
        except OutputError as failure:
            return recorder.finish(failure)
        finally:
            line.clear()
        return recorder.finish(error)


def _record_source(
    args: argparse.Namespace, given: dict[str, str], kinds: tuple[str, ...], interrupt: threading.Event
) -> RecordReport:
    from perception.pipeline import Stop, in_thread
    from perception.run import run as run_node
    from perception.terminal import StatusLine

    config = _node_config(args, given)
    line, errors = StatusLine(sys.stderr), list[RoadcastError]()
    with tempfile.TemporaryDirectory() as folder:
        if "publish" not in given:
            config = replace(config, publish=f"ipc://{folder}/node")
        # Who has the node's own key is let in.
        own = ServerKeys.load(config.curve_secret, config.allow)
        keys = None if own is None else ClientKeys(own.own, own.own.public)
        streams = tuple(camera.stream for camera in config.cameras)
        with _recorder(args, config.publish, streams, kinds, keys) as recorder:

            def pump() -> None:
                if errors:  # the disk is full, and the node is about to end
                    return
                line.show(recorder.progress())
                try:
                    recorder.pump(PUMP_S)
                except OutputError as failure:
                    errors.append(failure)
                    interrupt.set()

            try:
                summary = in_thread(lambda: run_node(config, interrupt=interrupt), stop=Stop(), name="node", idle=pump)
                pump()
            finally:
                line.clear()
            if summary is not None and summary.error:
                errors.append(SourceError(summary.error))
            return recorder.finish(errors[0] if errors else None)


def _node_config(args: argparse.Namespace, given: dict[str, str]) -> NodeConfig:
    """What the node of a source is told: it begins when the recorder is there."""
    if args.curve_server is not None:
        raise ConfigError("--curve-server is for a running node, and not for a source.")
    if args.follow or args.timeout != TIMEOUT_S:
        raise ConfigError("--follow and --timeout are for a running node, and not for a source.")
    if args.stream and (len(args.stream) > 1 or "all" in args.stream):
        raise ConfigError("A source is one stream: give --stream NAME once.")
    stream = {"stream": args.stream[0]} if args.stream else {}
    source = {"source": args.source} if args.source else {}
    config = load_config(given | source | stream, file=args.config)
    return replace(config, wait_subscribers=max(1, config.wait_subscribers))


@contextmanager
def _recorder(
    args: argparse.Namespace,
    endpoint: str,
    streams: tuple[str, ...] | None,
    kinds: tuple[str, ...],
    keys: ClientKeys | None,
) -> Iterator[Recorder]:
    from perception import __version__
    from perception.client import Subscriber
    from perception.recording.record import Recorder
    from perception.recording.writer import RecordingWriter
    from perception.sources.address import redact

    out = Path(args.out)
    origin = args.source or args.config
    if out.exists() and Path(origin).exists() and out.samefile(origin):
        raise ConfigError(f"The recording cannot replace its own source {origin!r}: give another name with -o.")
    about = {"origin": redact(origin), "roadcast": __version__, "kinds": " ".join(kinds)}
    with (
        Subscriber(endpoint, streams=streams, kinds=kinds, queue=QUEUE, until_end=False, keys=keys) as subscriber,
        RecordingWriter(out, about=about, overwrite=args.overwrite, sync=args.sync) as writer,
    ):
        yield Recorder(subscriber, writer, foxglove=not args.plain, follow=args.follow)


def _repair(path: Path, *, as_json: bool) -> int:
    from perception.recording.index import repair

    if not path.is_file():
        raise SourceNotFound(f"There is no recording {str(path)!r} to repair.")
    done = repair(path)
    if as_json:
        report = {"file": str(path), "bytes": path.stat().st_size, "cut": done.cut, "damaged": list(done.damaged)}
        print(json.dumps(report))
    else:
        written = "its index lists what can be read" if done.damaged else "nothing to repair, its index is there"
        if done.cut is not None:
            written = f"index written, {done.cut} bytes of a broken record cut off"
        print(f"{path}: {written}")
    if done.damaged:
        places = ", ".join(map(str, done.damaged[:5])) + (", ..." if len(done.damaged) > 5 else "")
        what = f"{len(done.damaged)} damaged chunk{'s'[: len(done.damaged) != 1]}, left out of the index"
        print(f"{path}: {what}: at byte {places}", file=sys.stderr)
    return 1 if done.damaged else 0
