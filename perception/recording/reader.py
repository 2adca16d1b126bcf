"""Reading a recording in the order in which it was recorded, also one whose recorder was killed."""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

import zstandard
from mcap.data_stream import ReadDataStream
from mcap.exceptions import McapError
from mcap.opcode import Opcode
from mcap.reader import SeekingReader
from mcap.records import Channel, Chunk, Schema
from mcap.records import Message as Entry
from mcap.stream_reader import breakup_chunk

from perception.errors import ConfigError, SourceError, SourceNotFound, WireError
from perception.recording.layout import Layout, Span, read_layout
from perception.recording.packing import ENCODING, unpack_record
from perception.wire.message import Message
from perception.wire.topic import KINDS, parse_topic

SUFFIX = ".mcap"
# What the MCAP library raises for bytes that are not what they claim to be.
DAMAGE = (McapError, zstandard.ZstdError, struct.error, ValueError, KeyError, EOFError, MemoryError)
_CHUNK_TIMES = struct.Struct("<QQ")


@dataclass(frozen=True, slots=True)
class _Chunk:
    span: Span
    start_ns: int  # earliest log time
    end_ns: int  # latest


@dataclass(slots=True)
class _Channels:
    """What the channel numbers of this file mean, as far as it was read."""

    topics: dict[int, tuple[str, str] | None] = field(default_factory=dict)
    foreign: set[str] = field(default_factory=set)

    def add(self, channel: Channel) -> None:
        try:
            stream, kind = parse_topic(f"{channel.topic}/".encode())
        except WireError:
            kind = ""
        ours = channel.message_encoding == ENCODING and kind in KINDS
        self.topics[channel.id] = (stream, kind) if ours else None
        if not ours:
            self.foreign.add(channel.topic)


class Recording:
    """An MCAP file with messages of this protocol; other channels in it are left alone.

    ``closed`` is False where the recorder was killed or the disk ran full: then everything up to the last
    whole chunk is here. Log times are those of the frames' captures, Unix nanoseconds.

    Raises:
        SourceNotFound: there is no such file.
        SourceError: it is no MCAP file, or cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._file = path.open("rb")
        except FileNotFoundError:
            raise SourceNotFound(f"There is no recording {str(path)!r}. Check the name with ls.") from None
        except OSError as error:
            raise SourceError(f"Cannot read {str(path)!r}: {error.strerror}.") from error
        try:
            layout = read_layout(self._file, str(path))
            self._chunks = self._chunks_of(layout)
        except BaseException:
            self._file.close()
            raise
        self.closed = layout.closed
        self.damage: list[str] = []  # sentences, found while reading
        self._channels = _Channels()
        self._ours = 0

    def __enter__(self) -> Recording:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file. May be called twice."""
        self._file.close()

    @property
    def start_ns(self) -> int:
        """The earliest log time; 0 for an empty recording."""
        return min((chunk.start_ns for chunk in self._chunks), default=0)

    @property
    def end_ns(self) -> int:
        """The latest log time."""
        return max((chunk.end_ns for chunk in self._chunks), default=0)

    def topics(self) -> dict[tuple[str, str], int | None]:
        """How many messages there are by (stream, kind); None for numbers that only the index would tell."""
        found: dict[tuple[str, str], int | None] = {}
        for channel, count in self._indexed() if self.closed else self._scanned():
            self._channels.add(channel)
            topic = self._channels.topics[channel.id]
            if topic is not None:
                found[topic] = count
        return found

    def stream_with(self, kinds: Collection[str], stream: str | None = None) -> str:
        """``stream``, or the only one there is, if it has messages of all these kinds.

        Raises:
            ConfigError: there is no such stream, or there are several and none was named.
            SourceError: a kind was not recorded.
        """
        topics = self.topics()
        names = sorted({name for name, _ in topics})
        fitting = [name for name in names if all((name, kind) in topics for kind in kinds)]
        if not names:
            raise SourceError(self._nothing())
        if stream is not None and stream not in names:
            raise ConfigError(f"{str(self.path)!r} has no stream {stream!r}; it has {', '.join(names)}.")
        if not fitting or (stream is not None and stream not in fitting):
            wanted, flags = " or ".join(sorted(kinds)), " ".join(f"--kind {kind}" for kind in kinds)
            raise SourceError(
                f"{str(self.path)!r} was recorded without {wanted} of {stream or ', '.join(names)}: "
                f"record again with {flags}."
            )
        if stream is None and len(fitting) > 1:
            raise ConfigError(
                f"{str(self.path)!r} has several streams: name one with --stream, {' or '.join(fitting)}."
            )
        return stream or fitting[0]

    def messages(self, *, start_s: float = 0.0, kinds: Collection[str] | None = None) -> Iterator[Message]:
        """Every message in the order in which it arrived, from ``start_s`` seconds after the first capture on.

        Of ``kinds`` only, where they are given. What is damaged is skipped and noted in ``damage``. May be called
        again, for another pass.

        Raises:
            SourceError: at the end, where the file holds no message of this protocol, or damage was found.
        """
        since_ns = self.start_ns + round(start_s * 1e9)
        self.damage, self._ours = [], 0
        for chunk in self._chunks:
            if chunk.end_ns >= since_ns or not self._ours:  # the first chunks may introduce channels
                yield from self._messages_of(chunk, since_ns, None if kinds is None else frozenset(kinds))
        if self.damage:
            more = f" and {len(self.damage) - 1} more places" if len(self.damage) > 1 else ""
            raise SourceError(f"{str(self.path)!r} is damaged: {self.damage[0]}{more}. The rest could be read.")
        if not any(self._channels.topics.values()):
            raise SourceError(self._nothing())

    def _messages_of(self, chunk: _Chunk, since_ns: int, kinds: frozenset[str] | None) -> Iterator[Message]:
        for entry in self._entries(chunk.span):
            if isinstance(entry, Channel):
                self._channels.add(entry)
            elif isinstance(entry, Entry):
                topic = self._channels.topics.get(entry.channel_id)
                if topic is None:
                    continue
                self._ours += 1
                if entry.log_time < since_ns or (kinds is not None and topic[1] not in kinds):
                    continue
                try:
                    message = unpack_record(*topic, entry.data)
                except WireError as error:
                    self.damage.append(f"{topic[0]}/{topic[1]} message {entry.sequence}: {error}")
                    continue
                yield message

    def _indexed(self) -> list[tuple[Channel, int | None]]:
        self._file.seek(0)
        try:
            summary = SeekingReader(self._file).get_summary()
        except DAMAGE:
            return self._scanned()
        if summary is None:
            return self._scanned()
        counts = {} if summary.statistics is None else summary.statistics.channel_message_counts
        return [(channel, counts.get(number)) for number, channel in summary.channels.items()]

    def _scanned(self) -> list[tuple[Channel, int | None]]:
        entries = (entry for chunk in self._chunks for entry in self._entries(chunk.span))
        return [(entry, None) for entry in entries if isinstance(entry, Channel)]

    def _entries(self, span: Span) -> list[Channel | Entry | Schema]:
        try:
            self._file.seek(span.begin)
            chunk = Chunk.read(ReadDataStream(self._file))
            return list(breakup_chunk(chunk, validate_crc=True))  # type: ignore[arg-type]
        except DAMAGE as error:
            self.damage.append(f"the chunk at byte {span.start} ({str(error) or type(error).__name__})")
            return []

    def _chunks_of(self, layout: Layout) -> list[_Chunk]:
        chunks = []
        for span in layout.spans:
            if span.opcode == Opcode.CHUNK and span.end - span.begin >= _CHUNK_TIMES.size:
                self._file.seek(span.begin)
                chunks.append(_Chunk(span, *_CHUNK_TIMES.unpack(self._file.read(_CHUNK_TIMES.size))))
        return chunks

    def _nothing(self) -> str:
        if self._channels.foreign:
            names = sorted(self._channels.foreign)
            shown = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
            return f"{str(self.path)!r} is an MCAP file, but none of its channels is a stream of roadcast: {shown}."
        end = "" if self.closed else " Its recorder was stopped before anything was written."
        return f"{str(self.path)!r} is an MCAP file without messages.{end}"
