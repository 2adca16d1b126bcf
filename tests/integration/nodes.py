"""What tests of whole nodes share: a reader of everything, an engine that knows its answers, a source of colours."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from perception.client import Subscriber
from perception.config import NodeConfig
from perception.engines.recorded import RecordedEngine
from perception.ledger import Ledger
from perception.run import run
from perception.summary import Summary
from perception.types import CaptureTime, Frame

PATIENCE_S = 30.0  # of anything that should take milliseconds
ENDS_WITHIN_S = 20.0  # promised are 2; a machine that does ten other things gets more, a hang does not pass
LABELS = np.zeros((1, 48, 80), np.uint8)
LABELS[0, 10:30, 10:40] = 13  # one car


def recorded() -> RecordedEngine:
    return RecordedEngine({"labels": LABELS, "confidence": np.full_like(LABELS, 200)})


@dataclass
class Received:
    frames: list[int] = field(default_factory=list)
    objects: int = 0
    lost: int = 0
    ends: list[dict[str, object]] = field(default_factory=list)


def receive(endpoint: str) -> Received:
    """Everything until the end of the stream."""
    got = Received()
    with Subscriber(endpoint, kinds=["labels", "objects", "event"], timeout=PATIENCE_S) as subscriber:
        for message in subscriber:
            if message.kind == "labels" and message.header.frame is not None:
                got.frames.append(message.header.frame.number)
            elif message.kind == "objects" and message.objects is not None:
                got.objects += len(message.objects.ids)
            elif message.kind == "event" and message.body["name"] == "end_of_stream":
                got.ends.append(dict(message.body["detail"]))
        got.lost = subscriber.tally.lost
    return got


def run_with_reader(config: NodeConfig) -> tuple[Summary, Received]:
    with ThreadPoolExecutor(1) as pool:
        reader: Future[Received] = pool.submit(receive, config.publish)
        summary = run(config)
        assert summary is not None
        return summary, reader.result(PATIENCE_S)


def no_threads_left() -> bool:
    names = {"decode front", "submit", "collect", "opening the source", "loading the model", "warming up the engine"}
    deadline = time.monotonic() + ENDS_WITHIN_S
    while any(thread.name in names for thread in threading.enumerate()):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


class FakeSource:
    """Frames of one colour, then the given error, if any; with ``endless`` there is no end."""

    uri = "fake"
    fps: float | None = 25.0
    promised: int | None = None

    def __init__(self, count: int, error: Exception | None = None, *, live: bool = False, pause_s: float = 0.0) -> None:
        self.live = live
        self._count = count
        self._error = error
        self._pause_s = pause_s
        self._closed = threading.Event()

    def frames(self, ledger: Ledger) -> Iterator[Frame]:
        for number in range(self._count):
            if self._closed.wait(self._pause_s):
                return
            ledger.capture(number)
            yield Frame("front", number, CaptureTime.now(), np.full((48, 80, 3), number % 256, np.uint8))
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        self._closed.set()
