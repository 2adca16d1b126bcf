"""``roadcast view``: shows a running node on a page, or draws a source or a node into a video or a contact sheet."""

from __future__ import annotations

import argparse
import glob
import json
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from perception.cli.keys import add_client_flags, client_keys
from perception.errors import ConfigError

if TYPE_CHECKING:
    from perception.view.shots import Feed

ENDPOINT_SCHEMES = ("tcp://", "ipc://")
SETTINGS = ("stream", "frames", "model", "enhance", "engine", "size")  # those of a node that a view takes as well
PORT = 8600
DEFAULTS = {"alpha": 0.45, "min_score": 0.3, "tiles": 12, "timeout": 10.0}
RANGES = {  # of numbers, both ends allowed
    "alpha": (0, 1),
    "fps": (0.01, 1000),
    "min_score": (0, 1),
    "tiles": (1, 400),
    "timeout": (0.001, 86400),  # to a day
}


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command ``view``."""
    parser = commands.add_parser(
        "view",
        help="watch a running node in a browser, or draw it or a source into a video or contact sheet",
        description="Of a running node alone: serve a page that shows it live, at http://127.0.0.1:8600/. With -o or "
        "--sheet: draw labels, outlines, boxes and names over the frames of a source (computed here) or of a running "
        "node (subscribed to), and write an H.264 video that browsers play, a contact sheet, or both.",
    )
    parser.add_argument(
        "source",
        metavar="SOURCE|ENDPOINT",
        help="a video, folder, camera or address as for 'run'; or tcp://HOST:PORT or ipc://PATH of a running node",
    )
    page = parser.add_argument_group("the page")
    page.add_argument(
        "--port",
        type=int,
        metavar="N",
        help=f"where this machine's browsers find it; 0 for any free one (default: {PORT})",
    )
    out = parser.add_argument_group("what to write")
    out.add_argument("-o", "--out", metavar="FILE.mp4", help="annotated video")
    out.add_argument("--sheet", metavar="FILE.png", help="contact sheet: frames evenly spread over the run")
    look = parser.add_argument_group("how it looks")
    look.add_argument(
        "--layers", metavar="A,B,...", help="of labels, outlines, boxes, names, legend, stats; default: all"
    )
    look.add_argument("--alpha", type=float, help=f"share of the class colours, 0..1 (default {DEFAULTS['alpha']})")
    look.add_argument(
        "--min-score", type=float, help=f"objects of a lower one are not drawn (default {DEFAULTS['min_score']})"
    )
    look.add_argument("--fps", type=float, help="frames a second of the video (default: the frames' own times)")
    look.add_argument("--tiles", type=int, help=f"frames on the contact sheet (default {DEFAULTS['tiles']})")
    what = parser.add_argument_group("what to draw")
    what.add_argument("--frames", metavar="N", help="end after so many frames")
    what.add_argument("--stream", metavar="NAME", help="name of the stream (default: front; on the page: all of them)")
    what.add_argument(
        "--model", metavar="FILE.onnx", help="of a source: the network (default: the one that is built in)"
    )
    what.add_argument("--enhance", metavar="NAME|FILE.onnx", help="of a source: denoise, lowlight or superres it first")
    what.add_argument("--engine", metavar="NAME", help="of a source: what runs the network (default: auto)")
    what.add_argument("--size", metavar="WxH", help="of a source: the network's input, or its number of pixels")
    what.add_argument(
        "--timeout",
        type=float,
        metavar="S",
        help=f"of an endpoint: end when nothing comes for so long (default {DEFAULTS['timeout']:g})",
    )
    add_client_flags(parser.add_argument_group("of a node that asks for keys"))
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Draw, print the report, and return the exit code.

    Raises:
        RequestError: a wrong flag, or a source, engine or model that does not exist.
        RoadcastError: the source or endpoint failed before its first frame, or a file cannot be written.
    """
    from perception.terminal import StatusLine
    from perception.view.layers import LAYERS, Style, layers_from_text
    from perception.view.render import render
    from perception.view.sheet import Sheet
    from perception.view.video import VideoWriter, check_video_path

    if not (args.out or args.sheet):
        if args.source.startswith(ENDPOINT_SCHEMES):
            return _serve_page(args)
        raise ConfigError(
            "Nothing to write: give -o FILE.mp4 for a video, --sheet FILE.png for a contact sheet, or both. "
            "A page shows what runs: 'roadcast run' the source and view its endpoint."
        )
    if args.port is not None:
        raise ConfigError("--port is for the page: leave out -o and --sheet.")
    for name, (low, high) in RANGES.items():
        value = getattr(args, name)
        if value is not None and not low <= value <= high:
            raise ConfigError(f"--{name.replace('_', '-')} must lie in {low}..{high}, got {value}.")
    _check_pairs(args)
    for name, default in DEFAULTS.items():
        if getattr(args, name) is None:
            setattr(args, name, default)
    layers = frozenset(LAYERS) if args.layers is None else layers_from_text(args.layers)
    style = Style(layers=layers, alpha=args.alpha, min_score=args.min_score)
    if args.out:
        check_video_path(Path(args.out))
    for path in filter(None, (args.out, args.sheet)):
        _check_not_read(Path(path), args.source)
    sheet = Sheet(Path(args.sheet), count=args.tiles) if args.sheet else None

    line = StatusLine(sys.stderr)
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)  # whoever stops us wants the video so far
    try:
        feed = open_feed(args)
        try:
            video = VideoWriter(Path(args.out), fps=args.fps, nominal_fps=feed.fps) if args.out else None
        except BaseException:
            feed.close()
            raise
        report = render(feed, style, video=video, sheet=sheet, show=line.show)
    finally:
        line.clear()
        signal.signal(signal.SIGTERM, before)
    print(json.dumps(report.to_json(), indent=2) if args.json else report.text())
    if report.error is not None:
        print(f"roadcast: error: {report.error}", file=sys.stderr)
    return report.exit_code


def _check_pairs(args: argparse.Namespace) -> None:
    """Raise ConfigError for a flag without that which it is for."""
    if args.fps is not None and not args.out:
        raise ConfigError("--fps is for a video: give -o as well.")
    if args.tiles is not None and not args.sheet:
        raise ConfigError("--tiles is for a contact sheet: give --sheet as well.")
    if args.timeout is not None and not args.source.startswith(ENDPOINT_SCHEMES):
        raise ConfigError("--timeout is for the endpoint of a running node: leave it out.")


def _check_not_read(path: Path, source: str) -> None:
    """Raise ConfigError where a file to be written is the source, or an image of it."""
    place = Path(source.removeprefix("file://"))
    read = glob.glob(f"{glob.escape(str(place))}/*" if place.is_dir() else str(place), recursive=True)  # noqa: PTH207
    if source and path.exists() and any(path.samefile(file) for file in (place, *map(Path, read)) if file.exists()):
        raise ConfigError(f"{str(path)!r} belongs to its own source {source!r}: give another name.")


def _serve_page(args: argparse.Namespace) -> int:
    """Serve the page of a running node until Ctrl-C. Raises ConfigError and EndpointError."""
    from perception.config import flag_of
    from perception.view.page.hub import Hub
    from perception.view.page.server import serve

    port = PORT if args.port is None else args.port
    if not 0 <= port <= 65535:
        raise ConfigError(f"--port must lie in 0..65535, got {port}.")
    for name in ("frames", "model", "enhance", "engine", "size", "fps", "layers", *DEFAULTS):
        if getattr(args, name) is not None:
            raise ConfigError(f"{flag_of(name)} is for a video or a contact sheet: give -o or --sheet as well.")
    hub = Hub(args.source, None if args.stream in (None, "all") else [args.stream], keys=client_keys(args))

    def announce(address: str) -> None:
        if args.json:
            print(json.dumps({"page": address, "endpoint": args.source}), flush=True)
        else:
            print(f"{args.source} is shown at {address} (Ctrl-C ends)", flush=True)

    serve(hub, port, announce=announce)
    return 0


def open_feed(args: argparse.Namespace) -> Feed:
    """The shots that the arguments ask for: from an endpoint, or from a source computed here."""
    from perception.config import flag_of, load_config
    from perception.sources.address import redact

    given = {name: getattr(args, name) for name in SETTINGS if getattr(args, name) is not None}
    config = load_config({"source": args.source, "pace": "max", **given})
    if args.source.startswith(ENDPOINT_SCHEMES):
        from perception.view.remote import shots_of_endpoint

        for name in ("model", "enhance", "engine", "size"):
            if name in given:
                raise ConfigError(
                    f"--{name} is for a source that is computed here; {args.source} has computed already."
                )
        return shots_of_endpoint(
            args.source, stream=config.stream, frames=config.frames, timeout_s=args.timeout, keys=client_keys(args)
        )
    for name in ("curve_server", "curve_secret"):
        if getattr(args, name) is not None:
            raise ConfigError(f"{flag_of(name)} is for a running node; {redact(args.source)} is computed here.")
    from perception.view.local import shots_of_source

    return shots_of_source(config)
