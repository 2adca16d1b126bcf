"""One camera of a node: where its frames come from, their count, and how it fares."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from itertools import islice
from math import prod
from queue import Empty, SimpleQueue

from perception.config import CameraConfig, NodeConfig
from perception.errors import SourceError
from perception.ledger import Ledger
from perception.metrics import Meter
from perception.pipeline import WAKE_S
from perception.sources import News, Patience, Source, open_source
from perception.stages.void import VoidMask
from perception.summary import Reason
from perception.types import Frame, Latency, Scene, Size


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
        self.finished = False  # whether the source came to its end, and was not only closed
        self.error: SourceError | None = None  # what ended it, if it did not end well
        self.reason: Reason | None = None  # why it ended; None before
        self.away: str | None = None  # why the camera is away just now
        self.absences = 0  # from which it came back
        self.size: Size | None = None  # of its first published frame
        self.meter = Meter()
        self._closed = False
        self._goes_on = threading.Event()
        self._goes_on.set()
        self._news = news

    def scenes(self, limit: int | None) -> Iterator[Scene]:
        """The first ``limit`` frames, their time until here charged to ``decode``; an error is kept, not raised.

        What a frame that was due under ``rate`` waited for this loop to come back for it is ``wait_source``.
        """
        back_ns = time.monotonic_ns()
        try:
            for frame in islice(self._grabbed(), limit):
                latency = Latency(frame.time.captured_mono_ns)
                if not self.source.live and back_ns > latency.mark_ns:
                    latency = latency.lap("wait_source", back_ns)
                yield Scene(frame, latency).lap("decode")
                back_ns = time.monotonic_ns()
        except SourceError as error:
            self.error = error
        self.finished = not self._closed

    @property
    def paused(self) -> bool:
        """Whether ``pause`` was called and ``resume`` was not."""
        return not self._goes_on.is_set()

    def pause(self) -> None:
        """Read a recording no further, and drop as ``stale`` what a camera sends. May be called twice."""
        self._goes_on.clear()

    def resume(self) -> None:
        """Go on. May be called twice."""
        self._goes_on.set()

    def close(self) -> None:
        """End the stream before its time. May be called twice, and from any thread."""
        self._closed = True
        self.source.close()

    def _grabbed(self) -> Iterator[Frame]:
        """The frames of the source, and none while it is paused.

        A camera is read all the time: it must not be noticed only later that it died, and its first frame after a
        pause must be a new one.
        """
        frames = self.source.frames(self.ledger)
        while True:
            while not self.source.live and self.paused and not self._closed:
                self._goes_on.wait(WAKE_S)
            frame = next(frames, None)
            if frame is None:
                return
            if self.source.live and self.paused:
                self.ledger.drop(frame.number, "stale")
            else:
                yield frame

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

    def fell_back(self, size: Size) -> bool:
        """Whether this is a camera, and a picture of this (w, h) has fewer pixels than its first one had."""
        return self.source.live and self.size is not None and prod(size) < prod(self.size)

    def drop_stale(self, scene: Scene) -> None:
        """Count a frame that gave way to a newer one."""
        self.ledger.drop(scene.frame.number, "stale")


def open_streams(config: NodeConfig) -> list[Stream]:
    """Open every source; cameras connect when their frames are first asked for.

    Raises:
        RequestError: there is no such source, or its settings are impossible.
        SourceError: a recording cannot be read.
    """
    streams: list[Stream] = []
    try:
        for camera in config.cameras:
            streams.append(open_stream(camera, config))
    except BaseException:
        close_streams(streams)
        raise
    return streams


def close_streams(streams: Iterable[Stream]) -> None:
    """Close every source. May be called twice, and from any thread."""
    for stream in streams:
        stream.close()


def open_stream(camera: CameraConfig, config: NodeConfig) -> Stream:
    """Open one source. Raises as ``open_streams``."""
    mask = VoidMask(camera)
    news: SimpleQueue[News] = SimpleQueue()
    patience = Patience(
        open_s=camera.open_timeout,
        stall_s=camera.stall_timeout,
        give_up_s=camera.give_up,
        wait_for_first=camera.wait_for_camera is not False,
        longest_pause_s=camera.retry_pause,
    )
    source = open_source(
        camera.source,
        stream=camera.stream,
        pace=config.pace,
        rate=config.rate,
        patience=patience,
        wait_for_device=camera.wait_for_camera is True,
        transport=camera.transport,
        tell=news.put,
    )
    return Stream(camera, source, mask, news)
