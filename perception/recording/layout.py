"""The records of an MCAP file, found by their lengths alone, so that a file that was cut off can be read as well.

A file is: magic, then records of one byte opcode, eight bytes length and their content, then magic again. The
libraries of MCAP start from the index at its end, which a recorder that was killed never wrote.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

from mcap.opcode import Opcode

from perception.errors import SourceError

MAGIC = b"\x89MCAP0\r\n"
_PREFIX = struct.Struct("<BQ")


@dataclass(frozen=True, slots=True)
class Span:
    """One whole record: where its content lies in the file."""

    opcode: int
    start: int  # of the record, its opcode
    begin: int  # of its content
    end: int  # of both


@dataclass(frozen=True, slots=True)
class Layout:
    """The whole records before the end of the data, those that only index others left out, and how the file ends.

    ``data_end`` is where they end: behind it, a file that was closed in order (``closed``) has its index, and
    one that was cut off has at most a piece of a record.
    """

    spans: tuple[Span, ...]
    data_end: int
    closed: bool


def read_layout(file: IO[bytes], name: str) -> Layout:
    """Walk over the records of an MCAP file, without reading what they hold.

    Raises:
        SourceError: not an MCAP file.
    """
    size = os.fstat(file.fileno()).st_size
    file.seek(0)
    magic = file.read(len(MAGIC))
    if magic != MAGIC:
        found = f"it begins with {magic!r}" if size else "it is empty"
        raise SourceError(f"{name!r} is not an MCAP recording: {found}. Give a file that 'roadcast record' wrote.")
    spans: list[Span] = []
    end = len(MAGIC)
    for span in spans_between(file, end, size):
        if span.opcode == Opcode.DATA_END:
            return Layout(tuple(spans), span.start, _ends_in_order(file, size))
        if span.opcode != Opcode.MESSAGE_INDEX:
            spans.append(span)
        end = span.end
    return Layout(tuple(spans), end, closed=False)


def spans_between(file: IO[bytes], start: int, end: int) -> Iterator[Span]:
    """The whole records from one place in the file to another."""
    at = start
    while at + _PREFIX.size <= end:
        file.seek(at)
        opcode, length = _PREFIX.unpack(file.read(_PREFIX.size))
        span = Span(opcode, at, at + _PREFIX.size, at + _PREFIX.size + length)
        if span.end > end or not opcode:  # a piece of a record, or a hole full of zeros after a power cut
            return
        yield span
        at = span.end


def _ends_in_order(file: IO[bytes], size: int) -> bool:
    file.seek(size - len(MAGIC))
    return file.read() == MAGIC
