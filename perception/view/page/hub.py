"""The page's subscriber: keeps the newest frame of every stream, and what there is to know about each.

It subscribes to what the open pages show and to no more, so while nobody looks a node computes nothing for it.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from perception.classes import CITYSCAPES, ClassTable
from perception.client import Message, ReceivedScene, Subscriber
from perception.client.joining import MAX_STREAMS, Joiner, ends_stream
from perception.errors import Timeout, WireError
from perception.wire.classes import classes_from_meta
from perception.wire.curve import ClientKeys

WINDOW_S = 2.0  # of rates and latencies
MOST_EVENTS = 200
LOOK_ROUND_S = 1.5  # for every stream of a node to say its first status
SILENT_S = 3.0  # after which whoever speaks next may be another node, with other streams
SLICE_S = 0.1
TORN_S = 1.0  # how long a whole frame is kept in place of incomplete ones


@dataclass(slots=True)
class StreamState:
    """One stream as far as it was heard."""

    table: ClassTable = CITYSCAPES
    newest: ReceivedScene | None = None
    session: bytes = b""
    heard_s: float = 0.0  # when the node last spoke of it
    status: dict[str, Any] = field(default_factory=dict)
    arrivals: deque[tuple[float, float]] = field(default_factory=deque)  # (monotonic s, age ms)
    shown_s: float = 0.0  # when the newest frame came
    lost: int = 0
    last: dict[str, int] = field(default_factory=dict)  # seq by kind

    def figures(self) -> dict[str, Any]:
        """What the charts show, ready for JSON."""
        now = time.monotonic()
        while self.arrivals and self.arrivals[0][0] < now - WINDOW_S:
            self.arrivals.popleft()
        arrivals = list(self.arrivals)  # at once, for the other thread adds to it
        p50, p99 = np.percentile([age for _, age in arrivals], (50, 99)) if arrivals else (None, None)
        ledger = self.status.get("ledger") or {}
        model = self.status.get("model") or {}
        return {
            "state": self.status.get("state", "unknown"),
            "fps": round(len(arrivals) / WINDOW_S, 1),
            "p50": None if p50 is None else round(float(p50), 1),
            "p99": None if p99 is None else round(float(p99), 1),
            "lost": self.lost,
            "dropped": sum((ledger.get("dropped") or {}).values()),
            "reasons": ledger.get("dropped") or {},
            "published": ledger.get("published", 0),
            "subscribers": self.status.get("subscribers", 0),
            "model": " ".join(str(model[key]) for key in ("id", "precision", "engine") if model.get(key)),
        }


class Hub:
    """Follows one node through restarts. ``pump`` belongs to one thread; the rest may be read by another.

    Args:
        streams: those to show; None for all that the node has, which it is asked for first.
        keys: where the node asks for them.
    """

    def __init__(self, endpoint: str, streams: Sequence[str] | None, *, keys: ClientKeys | None = None) -> None:
        self.endpoint = endpoint
        self.streams: dict[str, StreamState] = {name: StreamState() for name in streams or ()}
        self.events: deque[dict[str, Any]] = deque(maxlen=MOST_EVENTS)
        self.told = 0  # events so far
        self.wanted: frozenset[str] = frozenset()  # kinds that some page shows
        self._keys = keys
        self._named = streams is not None
        self._subscribed: tuple[tuple[str, ...] | None, frozenset[str]] | None = None
        self._subscriber: Subscriber | None = None
        self._joiner = Joiner(())
        self._heard_s: float | None = None
        self._began_s = time.monotonic()
        self._connect()

    @property
    def silent_s(self) -> float:
        """Seconds since the node said anything."""
        return time.monotonic() - (self._heard_s or self._began_s)

    @property
    def heard(self) -> bool:
        """Whether the node ever said anything."""
        return self._heard_s is not None

    def age_ms(self, scene: ReceivedScene) -> float:
        """Milliseconds since a frame was grabbed, by now."""
        assert self._subscriber is not None
        return self._subscriber.age_ms(scene)

    def pump(self) -> bool:
        """Receive for a tenth of a second at most; whether a new frame came."""
        self._connect()
        assert self._subscriber is not None
        deadline, news = time.monotonic() + SLICE_S, False
        while True:
            try:
                message = self._subscriber.receive(0.0 if news else max(0.0, deadline - time.monotonic()))
            except Timeout:
                return news
            except WireError as error:
                self._note("", "broken message", str(error))
                continue
            news = self._take(message) or news
            if time.monotonic() > deadline:
                return news

    def close(self) -> None:
        """Disconnect."""
        if self._subscriber is not None:
            self._subscriber.close()

    def _connect(self) -> None:
        """Subscribe to what is wanted now. All streams are listened to until each had time to show up."""
        young = time.monotonic() - self._began_s < LOOK_ROUND_S
        looking = not self._named and (not self.heard or young or self.silent_s > SILENT_S)
        if not self._named and not looking and self._subscribed is not None and self._subscribed[0] is None:
            self._forget()
        wished = (None if looking else tuple(sorted(self.streams)), frozenset() if looking else self.wanted)
        if wished == self._subscribed:
            return
        self.close()
        streams, kinds = wished
        self._joiner = Joiner(sorted(kinds))
        self._subscribed = wished
        for state in self.streams.values():
            state.last.clear()  # what was missed meanwhile was not asked for
        self._subscriber = Subscriber(
            self.endpoint,
            streams=streams,
            kinds=sorted(kinds),
            timeout=SLICE_S,
            queue=64,
            until_end=False,
            keys=self._keys,
        )

    def _forget(self) -> None:
        """Drop the streams that a node which came back has no more, now that it had time to speak of all it has."""
        here = {state.session for state in self.streams.values() if state.heard_s >= self._began_s}
        gone = [name for name, state in self.streams.items() if here and state.session not in here]
        self.streams = {name: state for name, state in self.streams.items() if name not in gone}
        for name in gone:
            self._note(name, "gone", "The node has come back without this stream.")

    def _take(self, message: Message) -> bool:
        if not self.heard or self.silent_s > SILENT_S:
            self._began_s = time.monotonic()
        self._heard_s = time.monotonic()
        if message.stream not in self.streams:
            if len(self.streams) >= MAX_STREAMS:  # a node that makes names up
                return False
            self.streams = self.streams | {message.stream: StreamState()}
        state, header = self.streams[message.stream], message.header
        if state.session != header.session:
            if state.session:
                self._note(message.stream, "restarted", "The node was restarted.")
                self._began_s = time.monotonic()  # it may have other streams now
            state.session = header.session
            state.last.clear()
        state.heard_s = time.monotonic()
        state.lost += max(0, header.seq - state.last.get(message.kind, header.seq - 1) - 1)
        state.last[message.kind] = header.seq
        if message.kind == "status":
            state.status = dict(message.body)
        elif message.kind == "meta":
            state.table = classes_from_meta(header.fields.submap("meta"))
        elif message.kind == "event":
            self._note(message.stream, str(message.body["name"]), _plain(message.body.get("detail")))
            if ends_stream(message):
                state.status = state.status | {"state": str((message.body.get("detail") or {}).get("state", "ended"))}
        scenes = self._joiner.add(message)
        for scene in scenes:
            self._show(scene)
        return bool(scenes)

    def _show(self, scene: ReceivedScene) -> None:
        assert self._subscriber is not None
        state, now = self.streams[scene.stream], time.monotonic()
        before = state.newest
        state.arrivals.append((now, self._subscriber.age_ms(scene)))
        # A frame of which something was lost must not make the picture flicker.
        torn = scene.missing and before is not None and before.complete
        if not torn or now - state.shown_s > TORN_S:
            state.newest, state.shown_s = scene, now

    def _note(self, stream: str, name: str, detail: str) -> None:
        self.told += 1
        clock = time.strftime("%H:%M:%S")
        self.events.append({"number": self.told, "time": clock, "stream": stream, "name": name, "detail": detail})


def _plain(detail: object) -> str:
    """A detail map as ``key value, key value``, without what says nothing."""
    if not isinstance(detail, dict):
        return ""
    shown = {key: value for key, value in detail.items() if value not in (None, "", {}) and key != "ledger"}
    return ", ".join(f"{key} {value}" for key, value in shown.items())[:300]
