"""The recorder: everything that a subscriber receives, into a file, until the stream ends."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

from perception.client import Subscriber
from perception.client.joining import ends_stream
from perception.errors import OutputError, RoadcastError, Timeout, WireError
from perception.recording.foxglove import FoxgloveChannels
from perception.recording.packing import ENCODING, pack_record
from perception.recording.writer import RecordingWriter
from perception.wire.message import Message


@dataclass(slots=True)
class RecordReport:
    """What was recorded. ``lost`` messages and ``dropped`` frames are those of the subscription's tally."""

    file: str
    bytes: int
    seconds: float
    frames: int
    messages: int
    by_topic: dict[str, int]
    lost: int
    dropped: int
    restarts: int
    rejected: int
    error: str | None = None  # what ended a recording that did not end well
    exit_code: int = 0

    def to_json(self) -> dict[str, Any]:
        """As JSON knows values."""
        return asdict(self)

    def text(self) -> str:
        """A few lines."""
        head = (
            f"{self.file}  {self.frames} frames, {self.messages} messages in {self.seconds:.1f} s, "
            f"{self.bytes / 1e6:.1f} MB"
        )
        if not self.messages:
            head = f"Nothing was recorded: no {self.file} was left."
        marks = {
            "messages lost on the way": self.lost,
            "frames dropped by the node": self.dropped,
            "restarts of the node": self.restarts,
            "messages that break the protocol, left out": self.rejected,
        }
        notes = [f"  {count} {what}" for what, count in marks.items() if count]
        return "\n".join([head, *(f"  {topic}: {count}" for topic, count in sorted(self.by_topic.items())), *notes])


class Recorder:
    """Takes messages from a subscriber and writes them, as they came and in Foxglove's terms.

    Gaps and restarts stay in the numbers of the messages, and are noted in Foxglove's log. With ``follow``,
    the end of a stream is not the end of the recording.
    """

    def __init__(
        self, subscriber: Subscriber, writer: RecordingWriter, *, foxglove: bool, follow: bool = False
    ) -> None:
        self._subscriber = subscriber
        self._writer = writer
        self._follow = follow
        self._foxglove = FoxgloveChannels(writer) if foxglove else None
        self._counts: Counter[str] = Counter()
        self._last: dict[tuple[str, str], tuple[bytes, int]] = {}  # session and seq of the newest message
        self._running: set[str] = set()
        self._began_s: float | None = None
        self._heard_s = time.monotonic()

    @property
    def silent_s(self) -> float:
        """Seconds since the last message."""
        return time.monotonic() - self._heard_s

    @property
    def ended(self) -> bool:
        """Whether every stream that was heard said that it ended, and that is the end."""
        return bool(self._counts) and not self._running and not self._follow

    def pump(self, seconds: float) -> None:
        """Record for so long, or until every stream has ended; then disconnect. Raises OutputError."""
        deadline = time.monotonic() + seconds
        while not self.ended:
            try:
                self._record(self._subscriber.receive(max(0.0, deadline - time.monotonic())))
            except Timeout:
                break
            except WireError:
                continue  # the subscriber counts it
            except OutputError:
                self._subscriber.close()
                raise
            if time.monotonic() >= deadline:
                break
        if self.ended:
            self._subscriber.close()  # the node waits for its readers to leave
        self._writer.flush_if_due()

    def silence(self, seconds: float) -> Timeout:
        """The error for a node that said nothing for so long."""
        return Timeout(self._subscriber.silence(seconds))

    def finish(self, error: RoadcastError | None = None) -> RecordReport:
        """Close the file and tell what was recorded, and what ended it if that was no good end."""
        try:
            self._writer.close()
        except RoadcastError as failure:
            error = error or failure
        tally = self._subscriber.tally
        return RecordReport(
            file=str(self._writer.path),
            bytes=self._writer.size(),
            seconds=round(self._seconds(), 3),
            frames=tally.frames,
            messages=sum(self._counts.values()),
            by_topic=dict(self._counts),
            lost=tally.lost,
            dropped=tally.dropped,
            restarts=tally.restarts,
            rejected=tally.rejected,
            error=None if error is None else str(error),
            exit_code=0 if error is None else error.exit_code,
        )

    def progress(self) -> str:
        """The line that lives while it records."""
        if self._began_s is None:
            return "recording: waiting for the first message"
        tally, seconds, size = self._subscriber.tally, self._seconds(), self._writer.nbytes
        rate = f", {size / 1e6 / seconds:.1f} MB/s" if seconds > 1 else ""
        return f"recording: {seconds:.0f} s, {tally.frames} frames, {size / 1e6:.1f} MB{rate}, lost {tally.lost}"

    def _seconds(self) -> float:
        return 0.0 if self._began_s is None else time.monotonic() - self._began_s

    def _record(self, message: Message) -> None:
        if self._began_s is None:
            self._began_s = time.monotonic()
        self._heard_s = time.monotonic()
        header, topic = message.header, f"{message.stream}/{message.kind}"
        published_ns = header.time.published_ns
        self._note_gap(message)
        self._writer.add(
            self._writer.channel(topic, ENCODING),
            pack_record(message),
            log_ns=header.time.captured_ns or published_ns,
            publish_ns=published_ns,
            sequence=header.seq,
        )
        if self._foxglove is not None:
            self._foxglove.add(message)
        self._counts[topic] += 1
        self._running.add(message.stream)
        if ends_stream(message):
            self._running.discard(message.stream)

    def _note_gap(self, message: Message) -> None:
        header, key = message.header, (message.stream, message.kind)
        session, seq = self._last.get(key, (header.session, header.seq - 1))
        self._last[key] = header.session, header.seq
        if self._foxglove is None:
            return
        if session != header.session:
            text = f"{message.kind}: the node was restarted"
        elif header.seq > seq + 1:
            text = f"{message.kind}: {header.seq - seq - 1} messages lost on the way to the recorder"
        else:
            return
        self._foxglove.log(header.time.published_ns, message.stream, text, warn=True)
