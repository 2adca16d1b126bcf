"""The index at the end of an MCAP file, for one whose recorder could not write it."""

from __future__ import annotations

import os
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from mcap._chunk_builder import ChunkBuilder
from mcap.data_stream import ReadDataStream, RecordBuilder
from mcap.opcode import Opcode
from mcap.reader import SeekingReader
from mcap.records import (
    Channel,
    Chunk,
    ChunkIndex,
    DataEnd,
    Footer,
    Message,
    MessageIndex,
    Metadata,
    MetadataIndex,
    Schema,
    Statistics,
    SummaryOffset,
)
from mcap.stream_reader import breakup_chunk

from perception.errors import OutputError, SourceError
from perception.recording.layout import MAGIC, Layout, Span, read_layout, spans_between
from perception.recording.reader import DAMAGE


@dataclass(slots=True)
class _Summary:
    """What the index tells, collected from the data."""

    schemas: dict[int, Schema] = field(default_factory=dict)
    channels: dict[int, Channel] = field(default_factory=dict)
    chunks: list[ChunkIndex] = field(default_factory=list)
    metadata: list[MetadataIndex] = field(default_factory=list)
    counts: dict[int, int] = field(default_factory=dict)  # messages by channel
    damaged: list[int] = field(default_factory=list)  # where chunks begin that cannot be read

    def statistics(self) -> Statistics:
        return Statistics(
            attachment_count=0,
            channel_count=len(self.channels),
            channel_message_counts=self.counts,
            chunk_count=len(self.chunks),
            message_count=sum(self.counts.values()),
            message_start_time=min((chunk.message_start_time for chunk in self.chunks), default=0),
            message_end_time=max((chunk.message_end_time for chunk in self.chunks), default=0),
            metadata_count=len(self.metadata),
            schema_count=len(self.schemas),
        )


@dataclass(frozen=True, slots=True)
class Repair:
    """What a repair did and found."""

    cut: int | None  # bytes of a broken record that were cut away; None where there was an index already
    damaged: tuple[int, ...]  # where chunks begin that cannot be read; the index leaves them out


def repair(path: Path) -> Repair:
    """Write the index behind the last whole chunk of a file that was cut off.

    Every chunk is read and its checksum compared, in a file that has an index, too: that index is written anew
    where chunks are damaged, so that whoever goes by it finds only what can be read. The data stay where they are;
    a second run changes nothing.

    Raises:
        SourceError: not an MCAP file, or nothing in it can be read.
        OutputError: no room for the index, or the file may not be written; the data stay as they were.
    """
    try:
        with path.open("r+b") as file:
            layout = read_layout(file, str(path))
            size = os.fstat(file.fileno()).st_size
            summary, end, tail = _collect(file, layout, str(path))
            damaged = tuple(summary.damaged)
            if layout.closed and not damaged:
                return Repair(None, ())
            written = tail + _packed(summary, end + len(tail))
            file.seek(end)
            if not layout.closed or file.read() != written:
                _append(file, end, written)
            return Repair(None if layout.closed else size - end, damaged)
    except OSError as error:
        raise OutputError(f"Cannot write the index of {str(path)!r}: {error.strerror}.") from error


def _append(file: IO[bytes], end: int, data: bytes) -> None:
    """Put the index in place of what lies behind the last whole record; where it has no room, leave the data."""
    file.truncate(end)
    file.seek(end)
    try:
        file.write(data)
        file.flush()
    except OSError:
        os.truncate(file.fileno(), end)
        raise


def _collect(file: IO[bytes], layout: Layout, name: str) -> tuple[_Summary, int, bytes]:
    """The summary, where the data end, and what has to be written there before it: the last chunk's own index."""
    summary = _old_summary(file) if layout.closed else _Summary()
    chunks = [span for span in layout.spans if span.opcode == Opcode.CHUNK]
    ends = [*(span.start for span in chunks[1:]), layout.data_end]
    last = None if layout.closed or not chunks else chunks.pop()
    for span, end in zip(chunks, ends):
        try:
            indexes = dict(_message_index(file, found) for found in spans_between(file, span.end, end))
            _add_chunk(summary, span, *_read_chunk(file, span), indexes, end - span.end)
        except DAMAGE:
            summary.damaged.append(span.start)
    for span in layout.spans:
        if span.opcode == Opcode.METADATA:
            file.seek(span.begin)
            found = Metadata.read(ReadDataStream(file))
            summary.metadata.append(MetadataIndex(span.start, span.end - span.start, found.name))
    if last is None:
        return summary, layout.data_end, b""
    return _last_chunk(file, summary, last, name)


def _old_summary(file: IO[bytes]) -> _Summary:
    """The channels that the index of a closed file names: the chunk that introduced them may be the damaged one."""
    file.seek(0)
    try:
        found = SeekingReader(file).get_summary()
    except DAMAGE:
        found = None
    return _Summary() if found is None else _Summary(dict(found.schemas), dict(found.channels))


def _last_chunk(file: IO[bytes], summary: _Summary, span: Span, name: str) -> tuple[_Summary, int, bytes]:
    """Its index may be missing or a piece, so it is made anew; a chunk that is itself damaged is cut off."""
    try:
        chunk, records = _read_chunk(file, span)
        builder = ChunkBuilder()
        for record in records:
            if isinstance(record, Schema):
                builder.add_schema(record)
            elif isinstance(record, Channel):
                builder.add_channel(record)
            elif isinstance(record, Message):
                builder.add_message(record)
        tail: Any = RecordBuilder()
        indexes = {}
        for channel, index in builder.message_indices.items():
            indexes[channel] = (span.end + tail.count, len(index.records))
            index.write(tail)
        written: bytes = tail.end()
    except DAMAGE:
        if span.start <= len(MAGIC):
            raise SourceError(f"{name!r} holds nothing that can be read.") from None
        return summary, span.start, b""
    try:
        _add_chunk(summary, span, chunk, records, indexes, len(written))
    except ValueError:
        summary.damaged.append(span.start)
    return summary, span.end, written


def _message_index(file: IO[bytes], span: Span) -> tuple[int, tuple[int, int]]:
    file.seek(span.begin)
    index = MessageIndex.read(ReadDataStream(file))
    return index.channel_id, (span.start, len(index.records))


def _read_chunk(file: IO[bytes], span: Span) -> tuple[Chunk, list[Any]]:
    """A chunk and its records. Raises one of DAMAGE where its checksum does not hold."""
    file.seek(span.begin)
    chunk: Chunk = Chunk.read(ReadDataStream(file))
    return chunk, list(breakup_chunk(chunk, validate_crc=True))


def _add_chunk(
    summary: _Summary,
    span: Span,
    chunk: Chunk,
    records: list[Any],
    indexes: dict[int, tuple[int, int]],
    index_length: int,
) -> None:
    """Raises ValueError where messages are of channels that only a damaged chunk named."""
    for record in records:  # channels and schemas stand in the chunk that uses them first
        if isinstance(record, Schema):
            summary.schemas[record.id] = record
        elif isinstance(record, Channel):
            summary.channels[record.id] = record
    if {record.channel_id for record in records if isinstance(record, Message)} - summary.channels.keys():
        raise ValueError("messages of unknown channels")
    for channel, (_, count) in indexes.items():
        summary.counts[channel] = summary.counts.get(channel, 0) + count
    summary.chunks.append(
        ChunkIndex(
            chunk_length=span.end - span.start,
            chunk_start_offset=span.start,
            compression=chunk.compression,
            compressed_size=len(chunk.data),
            message_end_time=chunk.message_end_time,
            message_index_length=index_length,
            message_index_offsets={channel: offset for channel, (offset, _) in indexes.items()},
            message_start_time=chunk.message_start_time,
            uncompressed_size=chunk.uncompressed_size,
        )
    )


def _packed(summary: _Summary, data_end: int) -> bytes:
    """The end of the data, the summary and the footer, to be written at ``data_end``."""
    head: Any = RecordBuilder()
    DataEnd(0).write(head)
    start = data_end + head.count
    body: Any = RecordBuilder()
    offsets = []
    groups: list[tuple[Opcode, list[Any]]] = [
        (Opcode.SCHEMA, list(summary.schemas.values())),
        (Opcode.CHANNEL, list(summary.channels.values())),
        (Opcode.STATISTICS, [summary.statistics()]),
        (Opcode.CHUNK_INDEX, summary.chunks),
        (Opcode.METADATA_INDEX, summary.metadata),
    ]
    for opcode, records in groups:
        begin = body.count
        for record in records:
            record.write(body)
        if records:
            offsets.append(SummaryOffset(opcode, start + begin, body.count - begin))
    offset_start = start + body.count
    for offset in offsets:
        offset.write(body)
    data = body.end()
    foot: Any = RecordBuilder()
    Footer(start, offset_start, 0).write(foot)
    footer = foot.end()
    # The checksum covers the summary and the footer up to itself.
    checksum = zlib.crc32(footer[:-4], zlib.crc32(data))
    return b"".join([head.end(), data, footer[:-4], checksum.to_bytes(4, "little"), MAGIC])
