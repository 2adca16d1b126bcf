"""One session of one stream of a replay: who sends, what is missing, and which times its frames have now."""

from __future__ import annotations

import time
import uuid
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from perception.wire.boot import boot_id
from perception.wire.encode import Sender
from perception.wire.header import FrameInfo
from perception.wire.message import Message


@dataclass(frozen=True, slots=True)
class _Frame:
    """A frame under way: when its first message was sent, and what counts as its capture."""

    number: int
    sent_mono_ns: int
    recorded_mono_ns: int  # publication of that message in the recording
    captured_ns: int
    captured_mono_ns: int


class ReplayedStream:
    """A new session in place of the recorded one, which begins with this message."""

    def __init__(self, first: Message) -> None:
        self.sender = Sender(first.stream, uuid.uuid4().bytes, boot_id())
        self.recorded = first.header.session
        self.ended = False
        self._last: dict[str, int] = {}  # recorded seq by kind
        self._frame: _Frame | None = None

    def gap(self, message: Message) -> int:
        """How many messages of this topic the recording lacks before this one."""
        seq = message.header.seq
        before = self._last.get(message.kind, seq - 1)
        self._last[message.kind] = seq
        return seq - before - 1

    def begins(self, message: Message) -> bool:
        """Whether this is the first message of a frame of this or another session."""
        same = self._frame is not None and self._frame.number == message.frame
        return not same or self.recorded != message.header.session

    def times(
        self, message: Message, wait: Callable[[float], object]
    ) -> tuple[Mapping[str, object], Mapping[str, int]]:
        """The ``time`` and ``latency_us`` that a message of a frame has now.

        The messages of one frame keep the distances that they had, whatever the speed: ``wait(seconds)`` is called
        for what is missing. What the replay adds to the recorded latency is its entry ``replay``.
        """
        info, times = message.header.frame, message.header.time
        assert info is not None  # asked for frame kinds only
        if self.begins(message):
            self._frame = _begun(info, times.published_mono_ns)
        frame = self._frame
        assert frame is not None
        early_ns = frame.sent_mono_ns + times.published_mono_ns - frame.recorded_mono_ns - time.monotonic_ns()
        if early_ns > 0:
            wait(early_ns / 1e9)
        published = now()
        spent = Counter({name: round(us) for name, us in info.latency_us.items()})
        whole_us = (published["published_mono_ns"] - frame.captured_mono_ns) // 1000
        spent["replay"] += max(0, whole_us - spent.total())
        return {
            **published,
            "captured_ns": frame.captured_ns,
            "captured_mono_ns": frame.captured_mono_ns,
            "media_ns": times.media_ns,
            "clock": "virtual",
            "estimated": times.estimated,
            "original_ns": times.captured_ns if times.original_ns is None else times.original_ns,
        }, spent


def now() -> dict[str, int]:
    """The ``time`` of a message without a frame."""
    return {"published_ns": time.time_ns(), "published_mono_ns": time.monotonic_ns()}


def _begun(info: FrameInfo, published_mono_ns: int) -> _Frame:
    spent_ns = round(sum(info.latency_us.values()) * 1000)
    unix_ns, mono_ns = time.time_ns(), time.monotonic_ns()
    return _Frame(info.number, mono_ns, published_mono_ns, unix_ns - spent_ns, mono_ns - spent_ns)
