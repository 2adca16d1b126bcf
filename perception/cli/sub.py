"""``roadcast sub ENDPOINT``: watch, count and audit what a node publishes."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from perception.cli.keys import add_client_flags, client_keys
from perception.client import Message, Subscriber
from perception.client.audit import Audit
from perception.client.joining import Joiner
from perception.client.subscriber import DEFAULT_KINDS
from perception.errors import ConfigError, Timeout
from perception.wire.topic import KINDS

MAX_TIMEOUT_S = 86400.0  # a day
LATENCIES = 100_000  # messages whose latency the summary is about
EPILOG = """\
A node computes and encodes only what somebody subscribes to, so --kind all makes it work more.
Ctrl-C and SIGTERM stop it in order, with summary and audit.
With --follow it goes on when the stream ends, and waits for the node to start again; --timeout counts until the first
message only. Exit codes: 0 the stream ended, --count was reached, or it was stopped; 1 the audit found something, or
had nothing to check; 2 a wrong flag; 3 nothing arrived for --timeout seconds, or a message broke the protocol."""


def add_parser(commands: Any) -> None:
    """Add the command to the parser of ``roadcast``."""
    parser = commands.add_parser(
        "sub",
        help="print, count and audit what a node publishes",
        description="Subscribe to a node, print a line per message and a summary at the end.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("endpoint", metavar="ENDPOINT", help="tcp://host:port or ipc://path")
    parser.add_argument(
        "--stream", action="append", metavar="NAME", help="stream to receive; repeat for more, or all (default: front)"
    )
    parser.add_argument(
        "--kind",
        action="append",
        metavar="KIND",
        help=f"{' '.join(KINDS)}, or all; repeat for more (default: {' and '.join(DEFAULT_KINDS)})",
    )
    parser.add_argument("--count", type=int, metavar="N", help="stop after N messages")
    parser.add_argument(
        "--timeout", type=float, default=10.0, metavar="SECONDS", help="give up after silence (default: 10)"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object per message, and the summary as the last")
    parser.add_argument(
        "--follow", action="store_true", help="go on when the stream has ended, and wait for a node to come again"
    )
    parser.add_argument(
        "--audit", action="store_true", help="check ledger, numbering, latency and maps; exit 1 if wrong"
    )
    add_client_flags(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Receive until the stream ends. Raises Timeout, WireError and ConfigError."""
    if args.count is not None and args.count < 1:
        raise ConfigError(f"--count must be at least 1, got {args.count}.")
    if not 0 < args.timeout <= MAX_TIMEOUT_S:
        raise ConfigError(
            f"--timeout must be more than 0 and at most {MAX_TIMEOUT_S:.0f} seconds, got {args.timeout:g}."
        )
    streams = None if args.stream and "all" in args.stream else args.stream or ["front"]
    kinds = None if args.kind and "all" in args.kind else args.kind or DEFAULT_KINDS
    keys = client_keys(args)
    log = Log(audit=Audit() if args.audit else None, joiner=Joiner(kinds))
    with (
        _terminated_as_by_ctrl_c(),
        Subscriber(args.endpoint, streams=streams, kinds=kinds, timeout=args.timeout, keys=keys) as subscriber,
    ):
        findings: list[str] = []
        try:
            _receive(subscriber, args, log, None if kinds is None else frozenset(kinds))
        except KeyboardInterrupt:
            pass  # the usual way to stop watching; the summary is still wanted
        finally:
            findings = [] if log.audit is None else log.finish(log.audit)
            summary = log.summary(subscriber, findings)
            print(json.dumps(summary, default=_plain) if args.json else summary_line(summary))
    for finding in findings:
        print(f"audit: {finding}", file=sys.stderr)
    if log.audit is not None and not findings and not args.json:
        print("audit: everything adds up")
    return 1 if findings else 0


@dataclass(slots=True)
class Log:
    """What was received, as far as the summary and the audit need it."""

    audit: Audit | None
    joiner: Joiner
    shown: int = 0
    frames: int = 0
    first_ns: int = 0  # this process's monotonic clock at the first of them
    last_ns: int = 0  # and at the last
    # Capture to here, of the latest messages of frames: with --follow there is no end of them.
    latencies_ms: deque[float] = field(default_factory=lambda: deque(maxlen=LATENCIES))
    _frame: tuple[str, int] | None = None

    def add(self, message: Message) -> None:
        """Count a message and hand it to the audit."""
        if message.frame is not None:
            self.latencies_ms.append(latency_ms(message))
            if self._frame != (message.stream, message.frame):
                self._frame = message.stream, message.frame
                self.last_ns = message.received_mono_ns
                self.first_ns = self.first_ns if self.frames else self.last_ns
                self.frames += 1
        if self.audit is not None:
            self.audit.message(message)
            for scene in self.joiner.add(message):
                self.audit.scene(scene)

    def finish(self, audit: Audit) -> list[str]:
        """What the audit found."""
        for scene in self.joiner.flush():
            audit.scene(scene)
        if not self.shown:
            return [*audit.finish(), "nothing of what was asked for arrived, so there was nothing to check"]
        return audit.finish()

    def summary(self, subscriber: Subscriber, findings: Sequence[str]) -> dict[str, object]:
        """The totals, ready for JSON; with the verdict of the audit, if there was one."""
        verdict = {} if self.audit is None else {"audit": {"good": not findings, "findings": list(findings)}}
        tally = subscriber.tally
        span_s = (self.last_ns - self.first_ns) / 1e9
        p50, p99 = np.percentile(self.latencies_ms, [50, 99]).round(3).tolist() if self.latencies_ms else (None, None)
        return {
            "kind": "summary",
            "messages": tally.messages,
            "frames": tally.frames,
            "bytes": tally.nbytes,
            "lost": tally.lost,
            "dropped": tally.dropped,
            "restarts": tally.restarts,
            "unknown": tally.unknown,
            "fps": round((self.frames - 1) / span_s, 2) if span_s else None,
            "latency_ms": {"p50": p50, "p99": p99},
            "ended": subscriber.ended,
            "status": subscriber.status,
            **verdict,
        }


def latency_ms(message: Message) -> float:
    """Milliseconds from capture to reception, by the Unix clocks of both hosts."""
    return (message.received_ns - (message.header.time.captured_ns or 0)) / 1e6


def message_fields(message: Message) -> dict[str, object]:
    """One message without its arrays, ready for JSON."""
    header = message.header
    fields: dict[str, object] = {
        "stream": message.stream,
        "kind": message.kind,
        "seq": header.seq,
        "bytes": message.nbytes,
    }
    if header.frame is None:
        return {**fields, message.kind: message.body}
    fields |= {
        "frame": header.frame.number,
        "size": header.frame.size,
        "latency_ms": round(latency_ms(message), 3),
        "latency_us": header.frame.latency_us,
        "media_ns": header.time.media_ns,
    }
    if message.kind == "summary":
        return {**fields, "summary": message.body}
    return fields if message.objects is None else {**fields, "objects": header.fields.items("objects")}


def message_line(message: Message) -> str:
    """One message for people."""
    start = f"{time.strftime('%H:%M:%S')} {message.stream}/{message.kind:<10} seq {message.header.seq:<6}"
    frame = message.header.frame
    if frame is None:
        return f"{start} {json.dumps(dict(message.body), default=str)[:200]}"
    size = f"{frame.size[0]}x{frame.size[1]}"
    objects = "" if message.objects is None else f"  {len(message.objects)} objects"
    return f"{start} frame {frame.number:<6} {size:>9} {message.nbytes:>8} bytes {latency_ms(message):8.1f} ms{objects}"


def summary_line(summary: dict[str, Any]) -> str:
    """The totals for people."""
    latency = summary["latency_ms"]
    timing = (
        "" if latency["p50"] is None else f", capture to here p50 {latency['p50']:.1f} ms p99 {latency['p99']:.1f} ms"
    )
    rate = "" if summary["fps"] is None else f", {summary['fps']:.1f} fps"
    return (
        f"{summary['messages']} messages, {summary['frames']} frames{rate}{timing}, "
        f"{summary['bytes'] / 1e6:.1f} MB; lost {summary['lost']} messages, node dropped {summary['dropped']} frames, "
        f"{summary['restarts']} restarts"
    )


@contextmanager
def _terminated_as_by_ctrl_c() -> Iterator[None]:
    """While inside, SIGTERM raises KeyboardInterrupt: whoever stops us that way wants the summary, too."""
    if threading.current_thread() is not threading.main_thread():  # signals are none of its business
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _receive(subscriber: Subscriber, args: argparse.Namespace, log: Log, shown: frozenset[str] | None) -> None:
    # Meta and status arrive every second, so the silence that counts is that of what was asked for.
    deadline = time.monotonic() + args.timeout
    while True:
        try:
            message = subscriber.receive(max(0.0, deadline - time.monotonic()))
        except Timeout as error:
            if args.follow and log.shown:
                deadline = time.monotonic() + args.timeout
                continue
            raise Timeout(subscriber.silence(args.timeout)) from error
        log.add(message)
        if shown is None or message.kind in shown:
            deadline = time.monotonic() + args.timeout
            line = json.dumps(message_fields(message), default=_plain) if args.json else message_line(message)
            log.shown += 1  # before it shows: who reads the line may end this process at once
            print(line, flush=True)
        if (subscriber.ended and not args.follow) or log.shown == args.count:
            return


def _plain(value: object) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)
