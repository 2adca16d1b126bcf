"""A node from its first moment to its last: wait for readers, publish, end in order, tell how it went."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import suppress

from perception.config import NodeConfig
from perception.control.opening import controlled
from perception.errors import EngineError, RoadcastError, Timeout
from perception.ledger import total
from perception.metrics import Usage
from perception.node import Node, build
from perception.operations.watching import watched
from perception.pipeline import WAKE_S, Stopped
from perception.stream import Stream
from perception.summary import Reason, Status, StreamSummary, Summary
from perception.watch import Watch


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
    with watched(config, show) as show_all:
        return _run(config, Watch(interrupt or threading.Event(), show_all))


def _run(config: NodeConfig, watch: Watch) -> Summary | None:
    try:
        with (
            build(config, interrupt=watch.interrupt, tick=watch.tick) as node,
            controlled(node, watch.status) as (control, where),
        ):
            watch.node = node
            watch.heed(control, where)
            _wait_for_subscribers(node, watch)
            started = Usage.now()
            reason, error = _publish_all(node, watch)
            used = Usage.now().since(started, watch.meter.frames)
            watch.settle(reason)
            left = node.halt()
            node.publisher.state = "failed" if error else "ended"
            watch.say("letting subscribers read the rest")
            summary = _summary(node, watch, used, reason=reason, error=error, left=left)
            _say_farewell(node, watch, error)
            node.publisher.close(failed=error is not None)
            return summary
    except Stopped:
        return None


def _say_farewell(node: Node, watch: Watch, error: RoadcastError | None) -> None:
    """Tell the end of every stream that did not end before the node."""
    for name, stream in node.streams.items():
        of_the_node = str(error) if error is not None and stream.reason == "engine_error" else None
        watch.end(stream, node.publisher.channels[name], error=of_the_node)


def _summary(
    node: Node,
    watch: Watch,
    used: Mapping[str, float | None],
    *,
    reason: Reason,
    error: RoadcastError | None,
    left: list[str],
) -> Summary:
    spec = node.engine.spec
    streams = tuple(_stream_summary(stream, reason) for stream in node.streams.values())
    first, promised = streams[0], [stream.promised for stream in streams]
    return Summary(
        state="failed" if error else "ended",
        reason=reason,
        error=str(error) if error else None,
        exit_code=error.exit_code if error else 0,
        source=", ".join(stream.source for stream in streams),
        live=any(stream.live for stream in streams),
        source_size=first.source_size,
        promised=sum(filter(None, promised)) if all(promised) else None,
        frames=total(stream.frames for stream in streams),
        computed=watch.computed,
        fps=watch.meter.fps,
        latency_ms=watch.meter.latency.quantiles(),
        first_frame_ms=watch.meter.first_frame_ms,
        stages_ms={name: spent.quantiles() for name, spent in watch.meter.stages.items()},
        stream=", ".join(stream.stream for stream in streams),
        publish=node.publisher.endpoint,
        policy=node.policy,
        subscribers=node.publisher.subscribers,
        engine=node.engine.name,
        engine_reason=node.engine.reason,
        slots=node.engine.slots,
        model={"id": spec.id, "sha256": spec.sha256[:16], "precision": spec.precision},
        network_size=node.network_size(first.source_size) if first.source_size else None,
        process=used,
        streams=streams,
        threads_left=tuple(left),
    )


def _stream_summary(stream: Stream, reason: Reason) -> StreamSummary:
    return StreamSummary(
        stream=stream.name,
        source=stream.source.uri,
        live=stream.source.live,
        source_size=stream.size,
        promised=stream.source.promised,
        frames=stream.ledger.entry(),
        fps=stream.meter.fps,
        latency_ms=stream.meter.latency.quantiles(),
        age_ms=stream.meter.age.quantiles(),
        absences=stream.absences,
        reason=stream.reason or reason,
        error=str(stream.error) if stream.error else None,
    )


def _wait_for_subscribers(node: Node, watch: Watch) -> None:
    wanted = node.config.wait_subscribers
    while wanted and not watch.interrupt.is_set():
        watch.tick(f"waiting for subscribers at {node.publisher.endpoint}: {node.publisher.subscribers} of {wanted}")
        with suppress(Timeout):
            if node.publisher.wait_for_subscribers(wanted, WAKE_S):
                return


def _publish_all(node: Node, watch: Watch) -> tuple[Reason, RoadcastError | None]:
    """Publish until the end of all streams; why it came, and the error if it was one.

    A recording is cut at the frame limit where it is read, so that nothing is read in vain; of a camera, that
    many frames are published, and when no stream needs more, the node ends.
    """
    limit = node.config.frames
    try:
        for scene in node.scenes:
            stream = node.streams[scene.frame.stream]
            channel = node.publisher.channels[stream.name]
            if channel.state == "starting":
                channel.state = "running"
                watch.say("running")  # the first send may have to wait for a reader
            if stream.source.live and stream.meter.frames == limit:
                stream.ledger.drop(scene.frame.number, "shutdown")
                continue
            taken = scene.lap("wait_publish")
            node.publish(taken)
            watch.published(stream, taken.lap("publish"))
            if watch.interrupt.is_set():
                break
            if stream.source.live and stream.meter.frames == limit:
                stream.source.close()
                if all(other.finished or other.meter.frames == limit for other in node.streams.values()):
                    break
    except EngineError as error:
        return "engine_error", error
    if watch.interrupt.is_set():
        return "interrupted", None
    errors = [stream.error for stream in node.streams.values() if stream.error is not None]
    if errors:
        return "source_error", errors[0]
    reasons = {watch.reason_of(stream) for stream in node.streams.values()}
    return "frame_limit" if "frame_limit" in reasons else "end_of_source", None
