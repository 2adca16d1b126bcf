"""The publisher: sends what is subscribed of each scene, and keeps the ledger's last column.

    ledger = Ledger()
    with Publisher("tcp://127.0.0.1:5600", stream="front", ledger=ledger, spec=engine.spec,
                   engine=engine.name, policy="wait") as publisher:
        publisher.state = "running"
        for scene in scenes:
            publisher.publish(scene)

One thread creates the publisher and calls its methods. ``wanted`` and ``subscribers`` may be read by any.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Literal, get_args

from perception.engines.engine import ModelSpec
from perception.errors import ConfigError, Timeout
from perception.ledger import Ledger
from perception.types import Scene, Size
from perception.wire.boot import boot_id
from perception.wire.encode import Content, Sender, content_of, frame_fields, frame_time, latency_us
from perception.wire.endpoint import transport_of
from perception.wire.header import ModelInfo, ledger_to_wire
from perception.wire.outlet import Outlet
from perception.wire.topic import FRAME_KINDS, check_stream

Policy = Literal["wait", "drop_oldest"]
State = Literal["starting", "running", "reconnecting", "ended", "failed"]
EventName = Literal[
    "end_of_stream", "reconnecting", "recovered", "model_changed", "drop_burst", "subscriber_lost", "recording_gap"
]

LINGER_MS = 1000  # 0 loses the last messages (measured)
PATIENCE_S = 5.0  # with policy wait, how long one send waits for a stalled subscriber
FAREWELL_S = 1.0  # for subscribers to read the end and leave
PERIOD_S = 1.0  # of status and meta
SETTLE_S = 0.1  # the subscriptions of one peer arrive together; this much silence says they are all here
FPS_WINDOW_S = 2.0


class Publisher:
    """Publishes the scenes of one stream over ZeroMQ (wire protocol 1.0).

    ``policy`` ``wait`` loses nothing and lets a slow subscriber slow the node; ``drop_oldest`` is the other
    way round. ``stop`` ends any wait early. ``flags`` may be set to ``("degraded",)`` or ``("replay",)``.

    Raises:
        ConfigError: a malformed endpoint, policy or stream name, or an endpoint that other machines can
            reach without ``insecure``.
        EndpointError: the endpoint is in use or is not this machine's.
    """

    def __init__(
        self,
        endpoint: str,
        *,
        stream: str,
        ledger: Ledger,
        spec: ModelSpec,
        engine: str,
        policy: Policy = "drop_oldest",
        expected_fps: float | None = None,
        source_size: Size | None = None,
        camera: Mapping[str, object] | None = None,
        insecure: bool = False,
        stop: threading.Event | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if policy not in get_args(Policy):
            raise ConfigError(f"There is no policy {policy!r}: choose wait or drop_oldest.")
        self.session = uuid.uuid4().bytes  # tells this run from every other
        self.flags: tuple[str, ...] = ()
        self._transport = transport_of(endpoint)
        self._ledger = ledger
        self._spec = spec
        self._model = ModelInfo(spec.id, spec.sha256[:16], spec.precision, engine)
        self._classes = spec.classes.fingerprint()
        self._patience_s = PATIENCE_S if policy == "wait" else 0.0
        self._expected_fps = expected_fps
        self._source_size = source_size
        self._camera = camera
        self._stop = stop or threading.Event()
        self._clock = clock
        self._state: State = "starting"
        self._published_at: deque[float] = deque()
        self._due = {"meta": 0.0, "status": 0.0}
        self._closed = False
        sender = Sender(check_stream(stream), self.session, boot_id())
        self._outlet = Outlet(
            endpoint, sender, lossless=policy == "wait", insecure=insecure, stop=self._stop, clock=clock
        )
        self.endpoint = self._outlet.endpoint  # as bound: a port of * has become a number

    def __enter__(self) -> Publisher:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None and not isinstance(error, KeyboardInterrupt):
            self._state = "failed"
        self.close()

    @property
    def wanted(self) -> frozenset[str]:
        """Kinds that somebody subscribes to. What is not in it need not be computed. Any thread may read it."""
        return self._outlet.audience.wanted

    @property
    def subscribers(self) -> int:
        """Connected peers that subscribe to something of this stream. Any thread may read it."""
        return self._outlet.audience.subscribers

    @property
    def state(self) -> State:
        """What the node is doing; a change is published at once."""
        return self._state

    @state.setter
    def state(self, state: State) -> None:
        if state != self._state:
            self._state = state
            self._due["status"] = 0.0
            self.poll()

    @property
    def fps(self) -> float:
        """Frames published a second, over the last two seconds."""
        now = self._clock()
        while self._published_at and self._published_at[0] < now - FPS_WINDOW_S:
            self._published_at.popleft()
        if len(self._published_at) < 2:
            return 0.0
        return (len(self._published_at) - 1) / max(now - self._published_at[0], 1e-9)

    def poll(self) -> None:
        """Take in subscriptions and send what is due of ``meta`` and ``status``. Never blocks; call it often."""
        if self._closed:
            return
        if "meta" in self._outlet.audience.drain():
            self._due["meta"] = 0.0
        now = self._clock()
        for kind, content in (("meta", self._meta), ("status", self._status)):
            # Where a subscriber of a lossless socket has no room, the next call tries again.
            if now >= self._due[kind] and (kind not in self.wanted or self._send_control(content(), force=False)):
                self._due[kind] = now + PERIOD_S

    def publish(self, scene: Scene) -> None:
        """Send every kind of this frame that somebody subscribes to, and count the frame as published.

        With policy ``wait`` this waits up to 5 s for a subscriber that does not keep up; then that subscriber
        loses the message, event ``subscriber_lost`` says so, and nobody waits for it again until it reads.
        """
        scene = scene.lap("wait_publish")
        self.poll()
        self._source_size = scene.frame.size
        wanted = self.wanted
        contents = [content_of(kind, scene, self._transport) for kind in FRAME_KINDS if kind in wanted]
        latency = scene.latency.lap("encode")
        common = frame_fields(scene.frame, self._model, self._classes, self._ledger.entry())
        for content in contents:
            if content is None:
                continue
            latency = latency.lap("send")
            times = frame_time(scene.frame.time, time.time_ns(), latency.mark_ns)
            common["latency_us"] = latency_us(latency)
            if not self._outlet.send(content, times, common=common, flags=self.flags, patience_s=self._patience_s):
                self.event("subscriber_lost", {"kind": content.kind, "frame": scene.frame.number})
        self._ledger.publish(scene.frame.number)
        self._published_at.append(self._clock())

    def event(self, name: EventName, detail: Mapping[str, object] | None = None) -> None:
        """Send an event. ``detail`` holds what msgpack can: text, numbers, lists, maps."""
        if name not in get_args(EventName):
            raise ValueError(f"the protocol has no event {name!r}")
        self._outlet.audience.drain()
        if "event" in self.wanted:
            content = Content("event", {"event": {"name": name, "detail": dict(detail or {})}})
            # subscriber_lost must not wait for the very subscriber that it is about.
            self._send_control(content, patience_s=0.0 if name == "subscriber_lost" else self._patience_s)

    def wait_for_subscribers(self, count: int, timeout_s: float) -> bool:
        """Block until ``count`` peers subscribe; False if ``stop`` was set meanwhile.

        Raises:
            Timeout: not so many came in time.
        """
        deadline = self._clock() + timeout_s
        quiet_since = self._clock()
        while not self._stop.is_set():
            before = self.wanted
            self.poll()
            if self.subscribers < count or self.wanted != before:
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

    def close(self, *, detail: Mapping[str, object] | None = None, hurry: bool = False) -> None:
        """Send a last ``status`` and then ``end_of_stream`` with ``detail``, and close. May be called twice.

        Subscribers get up to a second to read the rest and leave; with policy ``wait`` 5 s, for a slow one has
        a full queue to read. ``stop`` makes it one second in all, ``hurry`` skips all of this.
        """
        if self._closed:
            return
        self._closed = True
        if not hurry:
            if self._state != "failed":
                self._state = "ended"
            self._outlet.audience.drain()
            if "status" in self.wanted:
                self._send_control(self._status(), patience_s=self._patience_s)
            self.event("end_of_stream", {"state": self._state, **(detail or {})})
            left_ms = self._outlet.wait_until_left(max(FAREWELL_S, self._patience_s), FAREWELL_S)
        self._outlet.close(linger_ms=0 if hurry else min(left_ms, LINGER_MS) if self._stop.is_set() else LINGER_MS)

    def _send_control(self, content: Content, *, patience_s: float = 0.0, force: bool = True) -> bool:
        times = {"published_ns": time.time_ns(), "published_mono_ns": time.monotonic_ns()}
        return self._outlet.send(content, times, flags=self.flags, patience_s=patience_s, force=force)

    def _meta(self) -> Content:
        meta = {
            "classes": self._spec.classes.to_wire(),
            "source_size": self._source_size,
            "camera": self._camera,
            "model": {**self._spec.card, **self._model.to_wire()},
        }
        return Content("meta", {"meta": meta})

    def _status(self) -> Content:
        status = {
            "state": self._state,
            "expected_fps": self._expected_fps,
            "fps": round(self.fps, 3),
            "subscribers": self.subscribers,
            "wanted": sorted(self.wanted),
            "ledger": ledger_to_wire(self._ledger.entry()),
            "model": self._model.to_wire(),
        }
        return Content("status", {"status": status})
