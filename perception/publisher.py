"""The publisher: one socket for all streams of a node, and the order in which it says hello and goodbye.

    ledger = Ledger()
    streams = [StreamInfo(name="front", ledger=ledger)]
    with Publisher("tcp://127.0.0.1:5600", streams, spec=engine.spec, engine=engine.name, policy="wait") as publisher:
        publisher.state = "running"
        for scene in scenes:
            publisher.publish(scene)

One thread creates the publisher and calls its methods. ``wanted`` and ``subscribers`` may be read by any.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Literal, get_args

from perception.channel import Channel, EventName, State, StreamInfo
from perception.engines.engine import ModelSpec
from perception.errors import ConfigError, Timeout
from perception.types import Scene
from perception.wire.boot import boot_id
from perception.wire.curve import ServerKeys
from perception.wire.encode import Sender
from perception.wire.endpoint import transport_of
from perception.wire.outlet import Outlet
from perception.wire.topic import check_stream

__all__ = ["Channel", "EventName", "Policy", "Publisher", "State", "StreamInfo"]

Policy = Literal["wait", "drop_oldest"]

LINGER_MS = 1000  # 0 loses the last messages (measured)
PATIENCE_S = 5.0  # with policy wait, how long one send waits for a stalled subscriber
FAREWELL_S = 1.0  # for subscribers to read the end and leave
SETTLE_S = 0.1  # the subscriptions of one peer arrive together; this much silence says they are all here


class Publisher:
    """Publishes the scenes of one or more streams over ZeroMQ (wire protocol 1.0).

    ``policy`` ``wait`` loses nothing and lets a slow subscriber slow the node; ``drop_oldest`` is the other
    way round. With ``keys`` only clients on their allow-list can subscribe. ``stop`` ends any wait early.
    ``channels`` holds each stream by its name. ``fell_back`` is the engine's.

    Raises:
        ConfigError: a malformed endpoint, policy or stream name, two streams of one name, or an endpoint that
            other machines can reach without ``insecure`` or ``keys``.
        EndpointError: the endpoint is in use or is not this machine's.
    """

    def __init__(
        self,
        endpoint: str,
        streams: Sequence[StreamInfo],
        *,
        spec: ModelSpec,
        engine: str,
        fell_back: bool = False,
        policy: Policy = "drop_oldest",
        insecure: bool = False,
        keys: ServerKeys | None = None,
        stop: threading.Event | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if policy not in get_args(Policy):
            raise ConfigError(f"There is no policy {policy!r}: choose wait or drop_oldest.")
        names = [check_stream(info.name) for info in streams]
        if len(set(names)) < len(names):
            raise ConfigError(f"Two streams have the same name: {', '.join(names)}. Give each its own.")
        self.session = uuid.uuid4().bytes  # tells this run from every other
        self._patience_s = PATIENCE_S if policy == "wait" else 0.0
        self._stop = stop or threading.Event()
        self._clock = clock
        self._closed = False
        transport, boot = transport_of(endpoint), boot_id()
        self._outlet = Outlet(
            endpoint, names, lossless=policy == "wait", insecure=insecure, keys=keys, stop=self._stop, clock=clock
        )
        self.endpoint = self._outlet.endpoint  # as bound: a port of * has become a number
        self.channels: Mapping[str, Channel] = {
            info.name: Channel(
                info,
                self._outlet,
                Sender(info.name, self.session, boot),
                transport=transport,
                patience_s=self._patience_s,
                clock=clock,
            )
            for info in streams
        }
        self.serve(spec, engine, fell_back=fell_back)

    def __enter__(self) -> Publisher:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(failed=error is not None and not isinstance(error, KeyboardInterrupt))

    def serve(self, spec: ModelSpec, engine: str, *, fell_back: bool) -> None:
        """Name the model that makes the frames published from now on."""
        for channel in self.channels.values():
            channel.serve(spec, engine, fell_back=fell_back)

    def change(self, spec: ModelSpec, engine: str, *, fell_back: bool) -> None:
        """Say on every stream that the frames published from now on are made by another model."""
        self._outlet.drain()
        for channel in self.channels.values():
            channel.change(spec, engine, fell_back=fell_back)

    @property
    def wanted(self) -> frozenset[str]:
        """Kinds that somebody subscribes to, of any stream. Any thread may read it."""
        return frozenset().union(*(channel.wanted for channel in self.channels.values()))

    @property
    def subscribers(self) -> int:
        """Connected peers that subscribe to something of this node. Any thread may read it."""
        return self._outlet.audience.subscribers

    @property
    def refused(self) -> tuple[int, str]:
        """How many connections were refused for their keys, and why the last one was. Any thread may read it."""
        gate = self._outlet.gate
        return (0, "") if gate is None else (gate.refused, gate.reason)

    @property
    def state(self) -> State:
        """That of the stream in the best state: a node with one camera at work is running."""
        states = {channel.state for channel in self.channels.values()}
        return next(state for state in ("running", "reconnecting", "starting", "failed", "ended") if state in states)

    @state.setter
    def state(self, state: State) -> None:
        for channel in self.channels.values():
            channel.state = state

    def poll(self) -> None:
        """Take in subscriptions and send what is due of ``meta`` and ``status``. Never blocks; call it often."""
        if not self._closed:
            self._tell(self._outlet.drain())

    def publish(self, scene: Scene) -> None:
        """Send every kind of this frame that somebody subscribes to, and count the frame as published.

        With policy ``wait`` this waits up to 5 s for a subscriber that does not keep up; then that subscriber
        loses the message, event ``subscriber_lost`` says so, and nobody waits for it again until it reads.
        """
        asked = {} if self._closed else self._outlet.drain()
        if asked:  # who is new here learns the classes before the first frame
            self._tell(asked)
        self.channels[scene.frame.stream].publish(scene)
        if not asked:  # what is due once a second must not delay a frame
            self.poll()

    def event(self, name: EventName, detail: Mapping[str, object] | None = None) -> None:
        """Send an event on every stream that has not ended."""
        self._outlet.drain()
        for channel in self.channels.values():
            channel.event(name, detail)

    def wait_for_subscribers(self, count: int, timeout_s: float) -> bool:
        """Block until ``count`` peers subscribe; False if ``stop`` was set meanwhile.

        Raises:
            Timeout: not so many came in time.
        """
        deadline = self._clock() + timeout_s
        quiet_since = self._clock()
        while not self._stop.is_set():
            before = self._outlet.audience.wanted
            self.poll()
            if self.subscribers < count or self._outlet.audience.wanted != before:
                quiet_since = self._clock()
            elif self._clock() - quiet_since >= SETTLE_S:
                return True
            if self._clock() >= deadline:
                raise Timeout(
                    f"{count} subscribers were to connect to {self.endpoint} within {timeout_s:g} s and "
                    f"{self.subscribers} did. Start them first, or wait for fewer or for longer."
                )
            self._outlet.pause(10)
        return False

    def _tell(self, asked: Mapping[str, frozenset[str]]) -> None:
        for name, channel in self.channels.items():
            channel.poll(asked=asked.get(name, frozenset()))

    def close(self, *, failed: bool = False, detail: Mapping[str, object] | None = None, hurry: bool = False) -> None:
        """End every stream that has not ended, with ``detail``, and close. May be called twice.

        Subscribers get up to a second to read the rest and leave; with policy ``wait`` 5 s, for a slow one has
        a full queue to read. ``stop`` makes it one second in all, ``hurry`` skips all of this.
        """
        if self._closed:
            return
        self._closed = True
        if not hurry:
            self._outlet.drain()
            for channel in self.channels.values():
                channel.end(failed=failed or channel.state == "failed", detail=detail)
            left_ms = self._outlet.wait_until_left(max(FAREWELL_S, self._patience_s), FAREWELL_S)
        self._outlet.close(linger_ms=0 if hurry else min(left_ms, LINGER_MS) if self._stop.is_set() else LINGER_MS)
