"""A node from its first moment to its last: wait for readers, publish, end in order, tell how it went."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict

from perception.config import NodeConfig
from perception.errors import EngineError, RoadcastError, SourceError, Timeout
from perception.ledger import Ledger
from perception.metrics import Meter, Usage
from perception.node import Node, build, computes
from perception.pipeline import WAKE_S, Stopped
from perception.summary import Reason, Status, Summary
from perception.types import Scene, Size

SHOW_PERIOD_S = 0.2


def run(
    config: NodeConfig,
    *,
    interrupt: threading.Event | None = None,
    show: Callable[[Status], None] = lambda _: None,
) -> Summary | None:
    """Run a node until its source ends, its frame limit is reached or ``interrupt`` is set.

    The caller's thread owns the socket. What ended a run that was under way is told by the summary, after
    everything that could be read was published.

    Args:
        interrupt: setting it, from a signal handler or another thread, ends the node in order within 2 s.
        show: is called five times a second with how things stand.

    Returns:
        The summary; None where the interruption came before the node was ready.

    Raises:
        RoadcastError: the node could not begin: something cannot be opened, or settings do not go together.
    """
    watch = _Watch(interrupt or threading.Event(), show)
    try:
        with build(config, interrupt=watch.interrupt, tick=watch.tick) as node:
            watch.node = node
            _wait_for_subscribers(node, watch)
            started = Usage.now()
            reason, error = _publish_all(node, watch)
            used = Usage.now().since(started, watch.meter.frames)
            left = node.halt()
            node.publisher.state = "failed" if error else "ended"
            watch.say("letting subscribers read the rest")
            summary = _summary(node, watch, used, reason=reason, error=error, left=left)
            node.publisher.close(detail={"reason": reason, "error": summary.error, "ledger": asdict(summary.frames)})
            return summary
    except Stopped:
        return None


class _Watch:
    """What the caller's thread does besides publishing: the socket's housekeeping, interruption, showing."""

    def __init__(self, interrupt: threading.Event, show: Callable[[Status], None]) -> None:
        self.interrupt = interrupt
        self.meter = Meter()
        self.node: Node | None = None
        self.computed = 0
        self.source_size: Size | None = None
        self._show = show
        self._due_s = 0.0

    def tick(self, doing: str) -> None:
        """Never blocks; to be called at least every 100 ms."""
        if self.node is not None:
            self.node.publisher.poll()
            if self.interrupt.is_set():
                self.node.stop.set()
        now = time.monotonic()
        if now >= self._due_s:
            self._due_s = now + SHOW_PERIOD_S
            self._show(self._status(doing))

    def say(self, doing: str) -> None:
        """Tick, and show at once."""
        self._due_s = 0.0
        self.tick(doing)

    def published(self, scene: Scene) -> None:
        """Count a frame whose messages were handed to the socket."""
        if scene.segmentation is not None:
            self.computed += 1
        if self.source_size is None:
            self.source_size = scene.frame.size
        self.meter.published(scene.frame.time.captured_mono_ns, scene.latency)
        self.tick("running")

    def _status(self, doing: str) -> Status:
        fps, latency = self.meter.recent()
        node = self.node
        return Status(
            state=node.publisher.state if node else "starting",
            doing=doing,
            ledger=(node.ledger if node else Ledger()).entry(),
            promised=node.source.promised if node else None,
            fps=fps,
            latency_ms=latency,
            subscribers=node.publisher.subscribers if node else 0,
            computes=computes(node.publisher) if node else False,
            publish=node.publisher.endpoint if node else "",
            engine_reason=node.engine.reason if node else "",
        )


def _summary(
    node: Node,
    watch: _Watch,
    used: Mapping[str, float | None],
    *,
    reason: Reason,
    error: RoadcastError | None,
    left: list[str],
) -> Summary:
    spec, size = node.engine.spec, watch.source_size
    return Summary(
        state="failed" if error else "ended",
        reason=reason,
        error=str(error) if error else None,
        exit_code=error.exit_code if error else 0,
        source=node.source.uri,
        live=node.source.live,
        source_size=size,
        promised=node.source.promised,
        frames=node.ledger.entry(),
        computed=watch.computed,
        fps=watch.meter.fps,
        latency_ms=watch.meter.latency.quantiles(),
        first_frame_ms=watch.meter.first_frame_ms,
        stages_ms={name: spent.quantiles() for name, spent in watch.meter.stages.items()},
        stream=node.config.stream,
        publish=node.publisher.endpoint,
        policy=node.policy,
        subscribers=node.publisher.subscribers,
        engine=node.engine.name,
        engine_reason=node.engine.reason,
        slots=node.engine.slots,
        model={"id": spec.id, "sha256": spec.sha256[:16], "precision": spec.precision},
        network_size=node.network_size(size) if size else None,
        process=used,
        threads_left=tuple(left),
    )


def _wait_for_subscribers(node: Node, watch: _Watch) -> None:
    wanted = node.config.wait_subscribers
    while wanted and not watch.interrupt.is_set():
        watch.tick(f"waiting for subscribers at {node.publisher.endpoint}: {node.publisher.subscribers} of {wanted}")
        with suppress(Timeout):
            if node.publisher.wait_for_subscribers(wanted, WAKE_S):
                return


def _publish_all(node: Node, watch: _Watch) -> tuple[Reason, RoadcastError | None]:
    """Publish until the end; why it came, and the error if it was one.

    A recording is cut at the frame limit where it is read, so that nothing is read in vain; of a camera, that
    many frames are published.
    """
    limit = node.config.frames
    try:
        for scene in node.scenes:
            if not watch.meter.frames:
                node.publisher.state = "running"
                watch.say("running")  # the first send may have to wait for a reader
            taken = scene.lap("wait_publish")
            node.publisher.publish(taken)
            watch.published(taken.lap("publish"))
            if watch.interrupt.is_set():
                break
            if node.source.live and watch.meter.frames == limit:
                return "frame_limit", None
    except SourceError as error:
        return "source_error", error
    except EngineError as error:
        return "engine_error", error
    if watch.interrupt.is_set():
        return "interrupted", None
    return "frame_limit" if limit and node.ledger.entry().captured >= limit else "end_of_source", None
