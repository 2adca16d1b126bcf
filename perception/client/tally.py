"""What was received, and what the numbers in the messages say was not."""

from __future__ import annotations

from dataclasses import dataclass, field

from perception.client.joining import MAX_STREAMS, ends_stream
from perception.errors import WireError
from perception.wire.header import ledger_from_wire
from perception.wire.message import Message


@dataclass(slots=True)
class Tally:
    """Counters of one subscription, all from 0.

    ``lost`` messages were sent and did not arrive: gaps in ``seq``, and at the end of a stream one for each frame that
    was published after the last that came. ``dropped`` frames were grabbed and not sent: gaps in ``frame`` without one
    in ``seq``. ``restarts`` are changes of a stream's session.
    """

    messages: int = 0
    frames: int = 0
    nbytes: int = 0  # of all parts
    lost: int = 0
    dropped: int = 0
    restarts: int = 0
    rejected: int = 0  # messages that break the protocol
    unknown: int = 0  # messages of a kind that this version does not know
    _sessions: dict[str, bytes] = field(default_factory=dict, repr=False)
    _last: dict[tuple[str, str], tuple[int, int]] = field(default_factory=dict, repr=False)  # seq, frame
    _newest: dict[str, int] = field(default_factory=dict, repr=False)  # highest frame accounted for, by stream
    _published: dict[str, int] = field(default_factory=dict, repr=False)  # frames up to the newest, by stream
    _told: dict[str, int] = field(default_factory=dict, repr=False)  # frames published, as the node says, by stream

    def add(self, message: Message) -> None:
        """Count one message."""
        self.messages += 1
        self.nbytes += message.nbytes
        stream, header = message.stream, message.header
        if self._sessions.get(stream, header.session) != header.session:
            self.restarts += 1
            self._forget(stream)
        if stream not in self._sessions and len(self._sessions) >= MAX_STREAMS:  # a node that makes names up
            self._forget(next(iter(self._sessions)))
        self._sessions[stream] = header.session
        topic = (stream, message.kind)
        frame = -1 if message.frame is None else message.frame
        last_seq, last_frame = self._last.get(topic, (header.seq - 1, frame - 1))
        self._last[topic] = (header.seq, frame)
        gap = max(0, header.seq - last_seq - 1)
        self.lost += gap
        if header.frame is None or message.frame is None:
            self._told[stream] = max(self._told.get(stream, 0), published_by(message))
            if ends_stream(message) and stream in self._published:
                self.lost += max(0, self._told[stream] - self._published.pop(stream))
            return
        newest = self._newest.get(stream, frame - 1)
        if frame > newest:
            self.frames += 1
            # Each kind shows the same drop; only frames that no kind accounted for yet are counted.
            self.dropped += 0 if gap else max(0, frame - 1 - max(last_frame, newest))
            self._newest[stream] = frame
            self._published[stream] = header.frame.ledger.published + 1  # which does not count this frame yet

    def _forget(self, stream: str) -> None:
        """What was counted stays; what comes of this stream is compared with nothing that came before."""
        self._sessions.pop(stream, None)
        self._newest.pop(stream, None)
        self._published.pop(stream, None)
        self._told.pop(stream, None)
        self._last = {key: last for key, last in self._last.items() if key[0] != stream}


def published_by(message: Message) -> int:
    """Frames that a ``status`` or the end of a stream counts as published; 0 of what does not say."""
    if message.kind not in ("status", "event"):
        return 0
    try:
        fields = message.header.fields.submap(message.kind)
        holder = fields if message.kind == "status" else fields.submap("detail")
        return ledger_from_wire(holder.submap("ledger")).published
    except WireError:  # others than the end have no ledger
        return 0
