"""What the publishing thread does besides publishing: housekeeping of the socket, cameras that come and go, showing."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import asdict

from perception.channel import Channel
from perception.ledger import total
from perception.metrics import Meter
from perception.node import Node
from perception.publishing import computed_kinds
from perception.stream import Stream
from perception.summary import LATENCY_BOUNDS_MS, Reason, Status, StreamStatus
from perception.types import Scene

SHOW_PERIOD_S = 0.2


class Watch:
    """Looks after a node while its frames are published. Belongs to the thread that owns the socket."""

    def __init__(self, interrupt: threading.Event, show: Callable[[Status], None]) -> None:
        self.interrupt = interrupt
        self.meter = Meter()
        self.node: Node | None = None
        self.computed = 0
        self._show = show
        self._due_s = 0.0
        self._doing = "starting"
        self._heed: Callable[[], None] = lambda: None
        self._control = ""

    def heed(self, control: Callable[[], None], where: str) -> None:
        """Call this with every tick from now on, and tell where the node can be controlled, or why not."""
        self._heed, self._control = control, where

    def tick(self, doing: str) -> None:
        """Never blocks; to be called at least every 100 ms."""
        self._doing = doing
        if self.node is not None:
            self.node.publisher.poll()
            self._heed()
            self._look_after_streams(self.node)
            if self.interrupt.is_set():
                self.node.interrupt()
        now = time.monotonic()
        if now >= self._due_s:
            self._due_s = now + SHOW_PERIOD_S
            self._show(self.status())

    def say(self, doing: str) -> None:
        """Tick, and show at once."""
        self._due_s = 0.0
        self.tick(doing)

    def published(self, stream: Stream, scene: Scene) -> None:
        """Count a frame whose messages were handed to the socket."""
        self.computed += scene.segmentation is not None
        stream.size = stream.size or scene.frame.size
        for meter in (self.meter, stream.meter):
            meter.published(scene.frame.time.captured_mono_ns, scene.latency)
        self.tick("running")

    def settle(self, reason: Reason) -> None:
        """Note why each stream ends, now that the node does for this reason; before anything is closed for that."""
        for stream in self.node.streams.values() if self.node else ():
            own = self.reason_of(stream)
            ended = own == "source_error" or not stream.ledger.in_flight
            stream.reason = own if own is not None and ended else reason

    def end(self, stream: Stream, channel: Channel, *, error: str | None = None) -> None:
        """Tell the end of a stream; ``error`` is that of the node, where it was no fault of the stream's own."""
        stream.reason = stream.reason or self.reason_of(stream)
        told = str(stream.error) if stream.error else error
        detail = {"reason": stream.reason, "error": told, "ledger": asdict(stream.ledger.entry())}
        channel.end(failed=told is not None, detail=detail)

    def reason_of(self, stream: Stream) -> Reason | None:
        """Why a stream has ended by itself; None while it goes on."""
        limit = self.node.config.frames if self.node else None
        if stream.error is not None:
            return "source_error"
        if limit and (stream.meter.frames if stream.source.live else stream.ledger.entry().captured) >= limit:
            return "frame_limit"
        return "end_of_source" if stream.finished else None

    def _look_after_streams(self, node: Node) -> None:
        others = sum(not stream.finished for stream in node.streams.values())
        for name, stream in node.streams.items():
            channel = node.publisher.channels[name]
            for news in stream.hear():
                # One event for an absence, not for every attempt to end it.
                if news.name == "recovered" or news.detail["attempt"] == 1:
                    channel.event(news.name, news.detail)
                channel.state = "running" if news.name == "recovered" else "reconnecting"
            if stream.source.live:
                channel.expected_fps = stream.source.fps
            # The end of the last stream is told when all that belongs to the node's end is known.
            if others and stream.finished and not channel.ended and not stream.ledger.in_flight:
                self.end(stream, channel)

    def status(self) -> Status:
        """How things stand."""
        fps, latency = self.meter.recent()
        node = self.node
        streams = list(node.streams.values()) if node else []
        limit = node.config.frames if node else None
        expected = [_expected(stream, limit) for stream in streams]
        return Status(
            state=node.publisher.state if node else "starting",
            doing=self._doing,
            ledger=total(stream.ledger.entry() for stream in streams),
            expected=sum(filter(None, expected)) if all(expected) and expected else None,
            fps=fps,
            latency_ms=latency,
            subscribers=node.publisher.subscribers if node else 0,
            computes=bool(node.publisher.wanted & computed_kinds(node.engine.spec)) if node else False,
            publish=node.publisher.endpoint if node else "",
            engine_reason=node.engine.reason if node else "",
            away={stream.name: stream.away for stream in streams if stream.away},
            streams=tuple(_stream_status(stream, node.publisher.channels[stream.name]) for stream in streams)
            if node
            else (),
            model=_model_of(node) if node else {},
            control=self._control,
            refused=node.publisher.refused[0] if node else 0,
            refused_because=node.publisher.refused[1] if node else "",
        )


def _expected(stream: Stream, limit: int | None) -> int | None:
    """Frames that this run is to read: what the source holds, or the limit where that is lower."""
    return min(filter(None, (stream.source.promised, limit)), default=None)


def _stream_status(stream: Stream, channel: Channel) -> StreamStatus:
    latency = stream.meter.latency
    return StreamStatus(
        stream=stream.name,
        state=channel.state,
        ledger=stream.ledger.entry(),
        fps=channel.fps,
        latency_up_to=latency.up_to(LATENCY_BOUNDS_MS),
        latency_count=latency.count,
        latency_total_ns=latency.total_ns,
        absences=stream.absences,
        away=stream.away,
        paused=stream.paused,
    )


def _model_of(node: Node) -> dict[str, str]:
    return {"model": node.engine.spec.id, "precision": node.engine.spec.precision, "engine": node.engine.name}
