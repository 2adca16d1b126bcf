"""A subscriber stopped for ten seconds: what it does to the node, to another subscriber, and how soon it is fresh.

    python benchmarks/stall.py [--source VIDEO] [--engine auto]

The node publishes a clip with ``--policy drop_oldest`` in real time. One subscriber reads on; another, in
a process of its own, is stopped by SIGSTOP and woken by SIGCONT; then it asks for the newest frame.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time

from perception.bench.clip import STREET, prepare_clip
from perception.client import Subscriber
from perception.errors import Timeout
from perception.measure import node
from perception.terminal import StatusLine

BEFORE_S, STOPPED_S, AFTER_S = 6.0, 10.0, 4.0
MAX_AGE_MS = 200


def main() -> None:
    """Run both sides; the stalled one is this file with ``--sleeper``."""
    parser = argparse.ArgumentParser(description="Stop a subscriber and see who notices.")
    parser.add_argument("--source", help="a video of 26 s or more at 30 frames a second (default: a rendered street)")
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--sleeper", metavar="ENDPOINT", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.sleeper:
        _sleep(args.sleeper)
        return
    frames = int((BEFORE_S + STOPPED_S + AFTER_S + 6) * STREET.fps)
    line = StatusLine(sys.stderr)
    clip = prepare_clip(args.source, frames, line.show)
    line.clear()
    if clip.frames < frames:
        raise SystemExit(f"{clip.name} holds {clip.frames} frames, {frames} are needed: give a longer one or none.")
    settings = {"engine": args.engine, "policy": "drop_oldest", "pace": "real", "wait-subscribers": "2"}
    with tempfile.TemporaryDirectory() as folder:
        endpoint = f"ipc://{folder}/node"
        command = [sys.executable, __file__, "--sleeper", endpoint]
        with (
            node(str(clip.path), endpoint, frames, live=False, settings=settings),
            subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as sleeper,
            Subscriber(endpoint, kinds=("labels", "objects"), timeout=30.0) as reader,
        ):
            arrivals, (stopped, woken) = _read(reader, sleeper)
            fresh_at, age_ms = map(float, sleeper.communicate(timeout=30)[0].split())
    for name, start, end in (
        ("before", arrivals[0] + 1, stopped),
        ("while one is stopped", stopped, woken),
        ("after", woken, woken + AFTER_S),
    ):
        rate = sum(start <= at < end for at in arrivals) / (end - start)
        print(f"the other subscriber, {name}: {rate:.2f} frames a second")
    print(f"the other subscriber lost {reader.tally.lost} messages")
    print(f"the stopped subscriber had a frame {age_ms:.0f} ms old {(fresh_at - woken) * 1000:.0f} ms after waking")


def _read(reader: Subscriber, sleeper: subprocess.Popen[str]) -> tuple[list[float], list[float]]:
    """Monotonic seconds at which each frame arrived, and at which the sleeper was stopped and woken."""
    arrivals: list[float] = []
    signalled: list[float] = []

    def send(number: signal.Signals) -> None:
        os.kill(sleeper.pid, number)
        signalled.append(time.monotonic())

    for _ in reader.scenes():
        if not arrivals:
            for after, number in ((BEFORE_S, signal.SIGSTOP), (BEFORE_S + STOPPED_S, signal.SIGCONT)):
                threading.Timer(after, send, (number,)).start()
        arrivals.append(time.monotonic())
    return arrivals, signalled


def _sleep(endpoint: str) -> None:
    """Ask for the newest frame again and again; after a gap of seconds print when one came, and how old it was."""
    with Subscriber(endpoint, kinds=("labels", "objects"), timeout=30.0) as subscriber:
        last = time.monotonic()
        give_up = last + 60 + BEFORE_S + STOPPED_S + AFTER_S
        while time.monotonic() < give_up:
            try:
                scene = subscriber.latest(max_age_ms=MAX_AGE_MS)
            except Timeout:  # also where the newest frame is too old, and before the first
                continue
            now = time.monotonic()
            if now - last > STOPPED_S / 2:
                print(now, subscriber.age_ms(scene))
                return
            last = now


if __name__ == "__main__":
    main()
