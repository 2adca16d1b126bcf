"""``roadcast run SOURCE``: run a node."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import TYPE_CHECKING, Any

from perception.cli import INTERRUPTED
from perception.cli.restart import restart
from perception.config import RULES, NodeConfig, flag_of, load_config
from perception.errors import RoadcastError
from perception.terminal import NodeScreen, StatusLine, summary_text, write_or_lose

if TYPE_CHECKING:
    from perception.summary import Summary

EPILOG = """\
Sources: drive.mp4, 'frames/*.png' or a folder, 0 or /dev/video0, rtsp://..., synth://street?seed=1.
Every setting may also stand in a TOML file (--config) under its name, as frames = 200, or in the environment,
as ROADCAST_FRAMES=200; the command line wins over the environment, and that over the file.
Ctrl-C ends the node in order and exits with 0; a second one ends it at once and exits with 130."""
# What each flag is for; what it may be is written in the rules of perception.config.
FLAGS = {
    "stream": ("NAME", "name of the stream, the first part of every topic (default: front)"),
    "publish": ("ENDPOINT", "where subscribers connect (default: tcp://127.0.0.1:5600)"),
    "curve_secret": ("FILE", "the node's secret key: subscribers need keys then, and messages are encrypted"),
    "allow": ("FOLDER|FILE", "public keys of those who may subscribe; read again when it changes"),
    "control": ("auto|none|ENDPOINT", "where 'roadcast ctl' reaches the node (default: auto, for this user alone)"),
    "pace": ("real|max", "files: as recorded, or as fast as it goes (default: real)"),
    "rate": (
        "N",
        "files: N frames a second, due whether or not the node is ready; late ones are charged, or dropped as stale",
    ),
    "frames": ("N", "end after N frames"),
    "policy": (
        "wait|drop_oldest",
        "a slow subscriber holds up the node, or loses messages (default: wait for files at --pace max)",
    ),
    "open_timeout": ("S", "cameras: how long connecting may take (default: 10)"),
    "stall_timeout": ("S", "cameras: without a frame for so long, and three periods, it has frozen (default: 5)"),
    "wait_for_camera": (
        "true|false",
        "wait for a camera that is not there at the start (default: for addresses, not for missing devices)",
    ),
    "give_up": ("S|never", "cameras: away for so long, the stream ends; 0: at once (default: never)"),
    "retry_pause": ("S", "cameras: longest pause between two attempts to connect (default: 3)"),
    "transport": ("tcp|udp", "of RTSP (default: tcp)"),
    "calibration": ("FILE", "TOML file with the camera's k, distortion and mount, handed on in meta"),
    "region": ("X0,Y0,X1,Y1", "what lies outside is void; fractions of width and height, or x,y of each corner"),
    "ego_hood": ("FILE|X,Y,...", "what is void because it shows the vehicle: an image, bright there, or a polygon"),
    "pair_tolerance": ("S", "several cameras: frames captured so close together are a set (default: 0.02)"),
    "wait_subscribers": ("N", "begin when N subscribers are there"),
    "model": ("FILE", "ONNX model (default: the one that comes with roadcast)"),
    "enhance": (
        "denoise|lowlight|superres|FILE",
        "improve frames before they are segmented, and publish as image what came of them (docs/enhancement.md)",
    ),
    "engine": ("NAME", "auto, onnxruntime, openvino, tensorrt, recorded or simulated://... (default: auto)"),
    "device": ("auto|cpu|cuda", "where ONNX Runtime computes"),
    "mode": (
        "throughput|latency",
        "many frames a second, or each frame soon (default: throughput for files at --pace max)",
    ),
    "threads": ("N", "cores that the engine may use (default: all)"),
    "slots": ("N", "frames between submit and result: throughput against latency"),
    "batch": ("N", "several cameras: frames in one run of the network (default: all on a GPU, one on a CPU)"),
    "on_engine_failure": ("exit|restart", "cameras: end when the engine fails, or begin anew (default: exit)"),
    "size": ("WxH|PIXELS", "size of the network's input, or its pixel budget (default: the model's)"),
    "refine": ("crf|crf-reference", "labels follow the edges of the picture: a dense CRF, the fast one or pydensecrf2"),
    "refine_weight": ("W", "of --refine crf: 16 for coarse models, 1 for fine ones with probabilities (default: 16)"),
    "min_object_area": ("PIXELS", "smaller things are no objects; on a map of 1024x512 (default: 64)"),
    "track": ("true|false", "objects keep their numbers from frame to frame (default: true)"),
    "metrics": ("HOST:PORT", "serve /metrics for Prometheus, /healthz and /readyz there"),
    "log_format": ("text|json", "what is said on stderr: for people, or one JSON object a line (default: text)"),
}


def add_parser(commands: Any) -> None:
    """Add the command to the parser of ``roadcast``."""
    parser = commands.add_parser(
        "run",
        help="segment a video or camera and publish what is seen",
        description="Segment a video or camera and publish label maps, confidence and objects over ZeroMQ.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("source", metavar="SOURCE", nargs="?", help="what to watch; see below")
    add_settings(parser)
    parser.add_argument("--config", metavar="FILE", help="TOML file with settings")
    parser.add_argument("--json", action="store_true", help="print the summary as one JSON object on stdout")
    parser.set_defaults(run=run)


def add_settings(parser: Any, *, but: str | None = None) -> None:
    """Add a flag for every setting but the source, and but one that the command has of its own."""
    for name, (metavar, text) in FLAGS.items():
        if name == but:
            continue
        parser.add_argument(flag_of(name), dest=name, metavar=metavar, help=text)
    parser.add_argument(
        "--smooth",
        action="store_const",
        const="true",
        help="carry labels from frame to frame, so that they flicker less",
    )
    parser.add_argument(
        "--insecure", action="store_const", const="true", help="publish beyond this machine, to anybody, unencrypted"
    )


def given_settings(args: argparse.Namespace) -> dict[str, str]:
    """The texts of the settings that were given on the command line."""
    return {name: text for name in RULES if (text := getattr(args, name)) is not None}


def run(args: argparse.Namespace) -> int:
    """Run a node until its end; returns the exit code."""
    config = load_config(given_settings(args), file=args.config)
    interrupt = threading.Event()
    with interrupted_by_signals(interrupt):
        summary = _run_and_log(config, interrupt) if config.log_format == "json" else _run_and_show(config, interrupt)
        code = 0 if summary is None else summary.exit_code
        if args.json:
            found = {"state": "ended", "reason": "interrupted"} if summary is None else summary.to_json()
            print(json.dumps(found, allow_nan=False), flush=True)
        if summary is not None and summary.reason == "engine_error" and config.on_engine_failure == "restart":
            restart(interrupt)
        if interrupt.is_set() or (summary is not None and summary.threads_left):
            _leave_threads_behind(code)
    return code


def _run_and_show(config: NodeConfig, interrupt: threading.Event) -> Summary | None:
    from perception.run import run as run_node

    line = StatusLine(sys.stderr)
    try:
        summary = run_node(config, interrupt=interrupt, show=NodeScreen(line).show)
    finally:
        line.clear()
    if summary is None:
        print("roadcast: interrupted before the node was ready", file=sys.stderr)
        return None
    write_or_lose(sys.stderr, summary_text(summary) + "\n")
    if summary.error:
        write_or_lose(sys.stderr, f"roadcast: error: {summary.error}\n")
    return summary


def _run_and_log(config: NodeConfig, interrupt: threading.Event) -> Summary | None:
    from perception.operations.log import JsonLog
    from perception.run import run as run_node

    log = JsonLog()
    try:
        summary = run_node(config, interrupt=interrupt, show=log.show)
    except RoadcastError as error:
        log.say("error", level="error", message=str(error), exit_code=error.exit_code)
        raise SystemExit(error.exit_code) from None
    if summary is None:
        log.say("ended", state="ended", reason="interrupted")
    else:
        log.ended(summary)
    return summary


def _leave_threads_behind(code: int) -> None:
    """End the process if a thread is still running: it is stuck in a driver, and Python would wait for it."""
    if any(thread is not threading.main_thread() for thread in threading.enumerate()):
        with suppress(OSError):  # a full disk
            sys.stderr.flush()
        os._exit(code)


@contextmanager
def interrupted_by_signals(interrupt: threading.Event) -> Iterator[None]:
    """While inside, the first SIGINT or SIGTERM sets ``interrupt`` and a second one ends the process at once.

    The handler does no more: nothing of the node is ever torn by an exception at an arbitrary place. Outside the
    main thread, signals are none of its business.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        if interrupt.is_set():
            os._exit(INTERRUPTED)
        interrupt.set()

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
