"""One camera of a node: where its frames come from, their count, and how it fares."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import islice
from queue import Empty, SimpleQueue

from perception.config import CameraConfig
from perception.errors import SourceError
from perception.ledger import Ledger
from perception.metrics import Meter
from perception.sources import Source
from perception.sources.source import News
from perception.stages.void import VoidMask
from perception.summary import Reason
from perception.types import Latency, Scene, Size


class Stream:
    """A source that was opened, with a ledger of its own. ``news`` is what the source tells of itself.

    Its frames are read in one thread; ``finished``, ``error`` and the rest are for the thread that publishes.
    """

    def __init__(self, config: CameraConfig, source: Source, mask: VoidMask, news: SimpleQueue[News]) -> None:
        self.name = config.stream
        self.config = config
        self.source = source
        self.mask = mask
        self.ledger = Ledger()
        self.finished = False  # whether no more frames will come
        self.error: SourceError | None = None  # what ended it, if it did not end well
        self.reason: Reason | None = None  # why it ended; None before
        self.away: str | None = None  # why the camera is away just now
        self.absences = 0  # from which it came back
        self.size: Size | None = None  # of its first published frame
        self.meter = Meter()
        self._news = news

    def scenes(self, limit: int | None) -> Iterator[Scene]:
        """The first ``limit`` frames, their time until here charged to ``decode``; an error is kept, not raised.

        What a frame that was due under ``rate`` waited for this loop to come back for it is ``wait_source``.
        """
        back_ns = time.monotonic_ns()
        try:
            for frame in islice(self.source.frames(self.ledger), limit):
                latency = Latency(frame.time.captured_mono_ns)
                if not self.source.live and back_ns > latency.mark_ns:
                    latency = latency.lap("wait_source", back_ns)
                yield Scene(frame, latency).lap("decode")
                back_ns = time.monotonic_ns()
        except SourceError as error:
            self.error = error
        finally:
            self.finished = True

    def hear(self) -> Iterator[News]:
        """What happened to the camera since the last call."""
        while True:
            try:
                news = self._news.get_nowait()
            except Empty:
                return
            if news.name == "recovered":
                self.away = None
                self.absences += 1
            else:
                self.away = str(news.detail["reason"])
            yield news

    def drop_stale(self, scene: Scene) -> None:
        """Count a frame that gave way to a newer one."""
        self.ledger.drop(scene.frame.number, "stale")
