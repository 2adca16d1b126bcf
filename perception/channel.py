"""One stream of a node on the wire: what it sends of each frame, what it says about itself, and its end."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from perception.bursts import BurstWatch
from perception.engines.engine import ModelSpec
from perception.ledger import Ledger
from perception.types import Scene, Size
from perception.wire.encode import Content, Sender, Transport, content_of, frame_fields, frame_time, latency_us
from perception.wire.header import ModelInfo, ledger_to_wire
from perception.wire.outlet import Outlet
from perception.wire.topic import FRAME_KINDS

State = Literal["starting", "running", "reconnecting", "ended", "failed"]
EventName = Literal[
    "end_of_stream", "reconnecting", "recovered", "model_changed", "drop_burst", "subscriber_lost", "recording_gap"
]

PERIOD_S = 1.0  # of status and meta
# How long the end of a stream waits for room in a subscriber's queue, whatever the policy: one that misses it would
# wait for more for ever.
LAST_WORDS_S = 0.5
FPS_WINDOW_S = 2.0


@dataclass(frozen=True, kw_only=True)
class StreamInfo:
    """What a node knows about one of its streams before the first frame."""

    name: str = "front"
    ledger: Ledger
    expected_fps: float | None = None
    source_size: Size | None = None
    camera: Mapping[str, object] | None = None  # its calibration, as ``meta`` has it


class Channel:
    """The topics of one stream on a socket that it may share. Belongs to the socket's thread.

    ``wanted``, ``state`` and ``fps`` may be read by any thread.
    """

    def __init__(
        self,
        info: StreamInfo,
        outlet: Outlet,
        sender: Sender,
        *,
        transport: Transport,
        patience_s: float,
        clock: Callable[[], float],
    ) -> None:
        self.name = info.name
        self.ended = False  # whether its end was told; nothing follows that
        self.expected_fps = info.expected_fps  # a camera tells it when it is connected
        self.changed: Mapping[str, object] = {}  # where the last change of model took effect
        self.paused = False  # by a person: no frames are expected, and none are missed
        self.camera_fell_back = False  # its pictures are smaller than they were
        self._info = info
        self._ledger = info.ledger
        self._outlet = outlet
        self._sender = sender
        self._transport = transport
        self._patience_s = patience_s
        self._clock = clock
        self._state: State = "starting"
        self._newest: int | None = None  # number of the last frame that was published
        self._source_size = info.source_size
        self._published_at: deque[float] = deque()
        self._due = {"meta": 0.0, "status": 0.0}
        self._bursts = BurstWatch()

    @property
    def flags(self) -> tuple[str, ...]:
        """What every message says of how it came about."""
        return ("degraded",) if self._engine_fell_back or self.camera_fell_back else ()

    def serve(self, spec: ModelSpec, engine: str, *, fell_back: bool) -> None:
        """Name the model that makes the frames published from now on."""
        self._engine_fell_back = fell_back
        self._spec = spec
        self._model = ModelInfo(spec.id, spec.sha256[:16], spec.precision, engine)
        self._classes = spec.classes.fingerprint()
        self._due["meta"] = 0.0

    def change(self, spec: ModelSpec, engine: str, *, fell_back: bool) -> None:
        """Say that all frames from now on are another model's: its ``meta`` and ``model_changed``, then they come."""
        before = self._model
        self.serve(spec, engine, fell_back=fell_back)
        if self.ended:
            return
        if "meta" in self.wanted:
            self._send(self._meta(), patience_s=self._patience_s)
        seq = {kind: self._outlet.next_seq(self.name, kind) for kind in FRAME_KINDS}
        self.changed = {"seq": seq, "after_frame": self._newest}
        self.event("model_changed", {**self.changed, "from": before.to_wire(), "to": self._model.to_wire()})

    @property
    def wanted(self) -> frozenset[str]:
        """Kinds of this stream that somebody subscribes to. What is not in it need not be computed."""
        return self._outlet.audience.wanted[self.name]

    def hurry(self) -> None:
        """Make ``status`` due at once."""
        self._due["status"] = 0.0

    @property
    def state(self) -> State:
        """What the stream is doing; a change is published at once."""
        return self._state

    @state.setter
    def state(self, state: State) -> None:
        if state != self._state and not self.ended:
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

    def poll(self, *, asked: frozenset[str] = frozenset()) -> None:
        """Send what is due of ``meta`` and ``status``, and ``drop_burst`` where one began. Never blocks.

        ``asked`` are the kinds that somebody newly subscribed to: ``meta`` is due at once then.
        """
        if self.ended:
            return
        if "meta" in asked:
            self._due["meta"] = 0.0
        now = self._clock()
        for kind, content in (("meta", self._meta), ("status", self._status)):
            # Where a subscriber of a lossless socket has no room, the next call tries again.
            if now >= self._due[kind] and (kind not in self.wanted or self._send(content(), force=False)):
                self._due[kind] = now + PERIOD_S
        burst = self._bursts.look(now, self._ledger)
        if burst is not None and not self.paused:  # what a pause drops is no trouble
            self.event("drop_burst", burst)

    def publish(self, scene: Scene) -> None:
        """Send every kind of this frame that somebody subscribes to, and count the frame as published."""
        scene = scene.lap("wait_publish")
        self._source_size = scene.frame.size
        wanted = self.wanted
        if scene.enhanced is None and "image" in self._spec.outputs:
            wanted -= {"image"}  # nobody wanted it when its network could have run: the frame itself is another picture
        contents = [content_of(kind, scene, self._transport) for kind in FRAME_KINDS if kind in wanted]
        latency = scene.latency.lap("encode")
        common = frame_fields(scene, self._model, self._classes, self._ledger.entry())
        for content in contents:
            if content is None:
                continue
            latency = latency.lap("send")
            times = frame_time(scene.frame.time, time.time_ns(), latency.mark_ns)
            common["latency_us"] = latency_us(latency)
            delivered = self._outlet.send(
                self._sender, content, times, common=common, flags=self.flags, patience_s=self._patience_s
            )
            if self._patience_s and not delivered:
                self.event("subscriber_lost", {"kind": content.kind, "frame": scene.frame.number})
        self._newest = scene.frame.number
        self._ledger.publish(scene.frame.number)
        self._published_at.append(self._clock())

    def event(self, name: EventName, detail: Mapping[str, object] | None = None) -> None:
        """Send an event. ``detail`` holds what msgpack can: text, numbers, lists, maps."""
        if name not in get_args(EventName):
            raise ValueError(f"the protocol has no event {name!r}")
        if "event" in self.wanted and not self.ended:
            content = Content("event", {"event": {"name": name, "detail": dict(detail or {})}})
            self._send(content, patience_s=self._patience_for(name))

    def end(self, *, failed: bool, detail: Mapping[str, object] | None = None) -> None:
        """Send a last ``status`` and then ``end_of_stream`` with ``detail``. A second call does nothing."""
        if self.ended:
            return
        self._state = "failed" if failed else "ended"
        self._outlet.let_catch_up(LAST_WORDS_S)
        if "status" in self.wanted:
            self._send(self._status(), patience_s=self._patience_for("end_of_stream"))
        self.event("end_of_stream", {"state": self._state, **(detail or {})})
        self.ended = True

    def _patience_for(self, name: EventName) -> float:
        if name == "subscriber_lost":  # it must not wait for the very subscriber that it is about
            return 0.0
        return max(self._patience_s, LAST_WORDS_S) if name == "end_of_stream" else self._patience_s

    def _send(self, content: Content, *, patience_s: float = 0.0, force: bool = True) -> bool:
        times = {"published_ns": time.time_ns(), "published_mono_ns": time.monotonic_ns()}
        return self._outlet.send(self._sender, content, times, flags=self.flags, patience_s=patience_s, force=force)

    def _meta(self) -> Content:
        meta = {
            "classes": self._spec.classes.to_wire(),
            "source_size": self._source_size,
            "camera": self._info.camera,
            "model": {**self._spec.card, **self._model.to_wire()},
        }
        return Content("meta", {"meta": meta})

    def _status(self) -> Content:
        status = {
            "state": self._state,
            "expected_fps": self.expected_fps,
            "fps": round(self.fps, 3),
            "subscribers": self._outlet.audience.subscribers_of(self.name),
            "wanted": sorted(self.wanted),
            "ledger": ledger_to_wire(self._ledger.entry()),
            "model": self._model.to_wire(),
        }
        if self.paused:
            status["paused"] = True
        return Content("status", {"status": status})
