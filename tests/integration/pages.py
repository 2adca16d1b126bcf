"""A node of hand-made scenes, and ``roadcast view`` beside it."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from commands import environment
from scenes import SPEC, make_scene

from perception.ledger import Ledger
from perception.publisher import Publisher, StreamInfo

PATIENCE_S = 40.0


class Node(threading.Thread):
    """Publishes hand-made scenes of these streams until it is ended, at about 50 frames a second."""

    def __init__(self, endpoint: str, streams: tuple[str, ...] = ("front",)) -> None:
        super().__init__()
        self._endpoint, self._streams = endpoint, streams
        self._ended = threading.Event()
        self.wanted: frozenset[str] = frozenset()
        self.frames = 0
        self.slowest_s = 0.0  # of publishing one frame

    def run(self) -> None:
        ledgers = {name: Ledger() for name in self._streams}
        infos = [StreamInfo(name=name, ledger=ledger) for name, ledger in ledgers.items()]
        with Publisher(self._endpoint, infos, spec=SPEC, engine="recorded") as publisher:
            publisher.state = "running"
            while not self._ended.wait(0.02):
                began = time.monotonic()
                for name, ledger in ledgers.items():
                    ledger.capture(self.frames)
                    publisher.publish(make_scene(self.frames, stream=name, size=(96, 48), source_size=(640, 320)))
                publisher.poll()
                self.frames += 1
                self.wanted = publisher.wanted
                self.slowest_s = max(self.slowest_s, time.monotonic() - began)

    def end(self) -> None:
        self._ended.set()
        self.join(PATIENCE_S)


@contextmanager
def node(endpoint: str, *streams: str) -> Iterator[Node]:
    running = Node(endpoint, streams or ("front",))
    running.start()
    try:
        yield running
    finally:
        running.end()


@contextmanager
def viewer(endpoint: str, *args: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """``roadcast view`` in a process of its own, and the address that it prints."""
    process = subprocess.Popen(
        [sys.executable, "-m", "perception", "view", endpoint, "--json", *(args or ("--port", "0"))],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        yield process, json.loads(line)["page"] if line else ""
    finally:
        process.kill()
        process.communicate()
