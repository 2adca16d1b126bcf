"""Publishing a recording again: the same maps, objects and pictures, at the present time.

A replay is a session of its own. ``seq`` begins at 0, capture times are those of now, ``original_ns`` is the
recorded one, the clock is ``virtual`` and the flag ``replay`` is set; the payloads are those that were recorded,
byte for byte. Gaps in the recording stay gaps in ``seq``, and the event ``recording_gap`` tells of them.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import Any

import msgpack

from perception.channel import LAST_WORDS_S, EventName
from perception.client.joining import ends_stream
from perception.errors import SourceError
from perception.publisher import FAREWELL_S, LINGER_MS, PATIENCE_S
from perception.recording.chaos import Chaos, Weather
from perception.recording.reader import Recording
from perception.recording.session import ReplayedStream, now
from perception.recording.timeline import Timeline
from perception.wire.encode import Content
from perception.wire.message import Message
from perception.wire.outlet import Outlet

SOON = 20  # messages
WAKE_S = 0.05  # subscriptions are taken in so often while a message is not due yet
# What every header has and a replay gives anew; the rest of a header is sent as it was recorded.
COMMON = {"version", "kind", "stream", "session", "boot", "seq", "time", "flags", "parts"}


@dataclass(slots=True)
class ReplayCount:
    """What was replayed so far."""

    messages: int = 0
    frames: int = 0
    lost: int = 0  # on purpose
    gaps: int = 0  # messages that the recording lacks
    seconds: float = 0.0


class Replayer:
    """Sends recorded messages through an outlet.

    Args:
        outlet: bound, with the streams of the recording.
        metas: the ``meta`` message of every stream, for whoever subscribes before the next one comes.
        speed: 2 is twice as fast; infinity does not wait at all.
        interrupt: ends any wait.
        lossless: whether a send waits up to 5 s for a subscriber without room.
    """

    def __init__(
        self,
        outlet: Outlet,
        metas: Mapping[str, Message],
        *,
        speed: float,
        interrupt: threading.Event,
        lossless: bool,
        chaos: Chaos | None = None,
    ) -> None:
        self.count = ReplayCount()
        self._outlet = outlet
        self._metas = dict(metas)
        self._speed = speed
        self._interrupt = interrupt
        self._patience_s = PATIENCE_S if lossless else 0.0
        self._weather = Weather(chaos or Chaos())
        self._streams: dict[str, ReplayedStream] = {}
        self._again = False
        self._began_s = time.monotonic()

    def play(
        self,
        messages: Iterable[Message],
        *,
        final: bool = True,
        step: Callable[[], bool] | None = None,
        tick: Callable[[], None] = lambda: None,
    ) -> None:
        """Send these messages in order, each when it is due; returns early when ``interrupt`` is set.

        Args:
            final: whether the streams may end with them; else their last words are left out.
            step: called before every frame instead of waiting for its time; False ends the replay.
            tick: called at least twenty times a second.
        """
        if self._again:
            self._streams = {}  # each pass is a session of its own
        self._again = True
        timeline, began_s, due_s = Timeline(), time.monotonic(), 0.0
        for message in messages:
            due_s = max(due_s, timeline.place(message) / self._speed + self._weather.delay_s())
            if step is not None:
                if self._begins(message) and not step():
                    return
            elif not self._wait(began_s + due_s, tick):
                return
            if self._interrupt.is_set():
                return
            if final or not _farewell(message):
                self._replay(message, time.monotonic() - began_s)
            tick()

    def idle(self) -> None:
        """Take in subscriptions; whoever asks for ``meta`` gets it. Never blocks for long."""
        for stream, kinds in self._outlet.drain().items():
            meta = self._metas.get(stream)
            if "meta" in kinds and meta is not None:
                self._send(meta, self._streams.get(stream) or self._stream_of(meta))

    @property
    def subscribers(self) -> int:
        """Connected peers that subscribe to something."""
        return self._outlet.audience.subscribers

    def close(self, reason: str) -> None:
        """End every stream that did not end by itself, and close the outlet once subscribers have read the rest."""
        self.count.seconds = time.monotonic() - self._began_s
        for stream in self._streams.values():
            if not stream.ended:
                self._outlet.let_catch_up(LAST_WORDS_S)
                self._event(stream, "end_of_stream", {"state": "ended", "reason": reason})
        left_ms = self._outlet.wait_until_left(max(FAREWELL_S, self._patience_s), FAREWELL_S)
        self._outlet.close(linger_ms=min(left_ms, LINGER_MS) if self._interrupt.is_set() else LINGER_MS)

    def _wait(self, until_s: float, tick: Callable[[], None]) -> bool:
        """Sleep, serving subscriptions; False when interrupted."""
        while (left_s := until_s - time.monotonic()) > 0:
            self.idle()
            tick()
            if self._interrupt.wait(min(left_s, WAKE_S)):
                return False
        self.idle()
        return True

    def _replay(self, message: Message, at_s: float) -> None:
        stream = self._stream_of(message)
        self._note_gap(message, stream)
        if message.kind == "meta":
            self._metas[message.stream] = message
        last_words = ends_stream(message)
        if _farewell(message):
            self._outlet.let_catch_up(LAST_WORDS_S)
        if self._weather.loses(at_s) and not last_words:
            self._outlet.skip(message.stream, message.kind, 1)
            self.count.lost += 1
            return
        self._send(message, stream)
        stream.ended = last_words

    def _stream_of(self, message: Message) -> ReplayedStream:
        """The stream of this message; a new session of it where the recorded session is another."""
        known = self._streams.get(message.stream)
        if known is not None and known.recorded == message.header.session:
            return known
        self._outlet.restart(message.stream)
        self._streams[message.stream] = ReplayedStream(message)
        return self._streams[message.stream]

    def _note_gap(self, message: Message, stream: ReplayedStream) -> None:
        gap = stream.gap(message)
        if gap > 0:
            self.count.gaps += gap
            self._outlet.skip(message.stream, message.kind, gap)
            self._event(stream, "recording_gap", {"kind": message.kind, "messages": gap})

    def _begins(self, message: Message) -> bool:
        """Whether this is the first message of a frame."""
        known = self._streams.get(message.stream)
        return message.frame is not None and (known is None or known.begins(message))

    def _send(self, message: Message, stream: ReplayedStream) -> None:
        header: dict[str, Any] = msgpack.unpackb(message.packed, strict_map_key=False)
        flags = [flag for flag in message.header.flags if flag != "replay"] + ["replay"]
        fields = {key: value for key, value in header.items() if key not in COMMON}
        times: Mapping[str, object]
        if message.frame is None:
            times = now()
        else:
            self.count.frames += stream.begins(message)
            times, fields["latency_us"] = stream.times(message, self._interrupt.wait)
        content = Content(message.kind, fields, message.header.parts, message.payloads)
        patience_s = max(self._patience_s, LAST_WORDS_S) if _farewell(message) else self._patience_s
        self._outlet.send(stream.sender, content, times, flags=flags, patience_s=patience_s)
        self.count.messages += 1

    def _event(self, stream: ReplayedStream, name: EventName, detail: Mapping[str, object]) -> None:
        content = Content("event", {"event": {"name": name, "detail": dict(detail)}})
        patience_s = max(self._patience_s, LAST_WORDS_S) if name == "end_of_stream" else self._patience_s
        self._outlet.send(stream.sender, content, now(), flags=["replay"], patience_s=patience_s)


def metas_of(recording: Recording, streams: Collection[str]) -> dict[str, Message]:
    """The first ``meta`` message of each stream, as far as they come soon."""
    metas: dict[str, Message] = {}
    with suppress(SourceError):  # it is met again, and told, when the messages are sent
        for message in islice(recording.messages(kinds=("meta",)), SOON * len(streams)):
            metas.setdefault(message.stream, message)
            if metas.keys() >= set(streams):
                break
    return metas


def _farewell(message: Message) -> bool:
    """Whether a node says with this message that it ends."""
    return ends_stream(message) or (message.kind == "status" and message.body.get("state") in ("ended", "failed"))
