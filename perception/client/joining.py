"""Joining the messages of one frame, with memory for one frame per stream."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from perception.client.scene import ReceivedScene, scene_of
from perception.wire.message import Message
from perception.wire.topic import FRAME_KINDS

MAX_STREAMS = 64


@dataclass(slots=True)
class _Stream:
    session: bytes
    pending: dict[str, Message] = field(default_factory=dict)
    done: int = -1  # the last frame that was handed out
    seen: set[str] = field(default_factory=set)
    first: bool = True  # nothing was handed out yet: other kinds may still show up


class Joiner:
    """Turns messages into scenes.

    A scene is handed out when its last kind arrives: the last of those that the stream has sent so far, for
    a node cannot send what its model does not compute. Failing that, when anything of a later frame, the
    stream's end or its restart shows that no more will come.
    """

    def __init__(self, asked: Iterable[str] | None) -> None:
        self._asked = None if asked is None else frozenset(asked) & frozenset(FRAME_KINDS)
        self._streams: dict[str, _Stream] = {}
        self.late = 0  # messages that came after their scene was handed out

    def add(self, message: Message) -> list[ReceivedScene]:
        """Take in one message of any kind; returns the scenes that it completes or ends, oldest first."""
        state = self._streams.get(message.stream)
        finished: list[ReceivedScene] = []
        if state is None or state.session != message.header.session:
            finished += self._flush(state)
            state = self._begin(message)
        if message.frame is None:
            return finished + (self._flush(state) if ends_stream(message) else [])
        if message.frame == state.done:
            self.late += 1
            state.seen.add(message.kind)
            return finished
        if state.pending and message.frame != next(iter(state.pending.values())).frame:
            finished += self._flush(state)
        state.pending[message.kind] = message
        state.seen.add(message.kind)
        if state.pending.keys() >= self._awaited(state):
            finished += self._flush(state)
        return finished

    def flush(self) -> list[ReceivedScene]:
        """Whatever is still incomplete."""
        return [scene for state in self._streams.values() for scene in self._flush(state)]

    def _begin(self, message: Message) -> _Stream:
        if len(self._streams) >= MAX_STREAMS and message.stream not in self._streams:
            self._streams.pop(next(iter(self._streams)))
        state = self._streams[message.stream] = _Stream(message.header.session)
        return state

    def _awaited(self, state: _Stream) -> frozenset[str]:
        if state.first:
            return frozenset(FRAME_KINDS) if self._asked is None else self._asked
        return frozenset(state.seen)

    def _flush(self, state: _Stream | None) -> list[ReceivedScene]:
        if state is None or not state.pending:
            return []
        expected = frozenset(state.seen) | (self._asked or frozenset())
        scene = scene_of(list(state.pending.values()), expected)
        state.pending, state.done, state.first = {}, scene.number, False
        return [scene]


def ends_stream(message: Message) -> bool:
    """Whether a node says with this message that nothing more will come."""
    return message.kind == "event" and message.body.get("name") == "end_of_stream"
