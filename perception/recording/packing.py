"""One message of the wire protocol as the data of one MCAP message, and back, byte for byte."""

from __future__ import annotations

from collections.abc import Sequence

import msgpack

from perception.errors import WireError
from perception.wire.codecs import Buffer
from perception.wire.message import Message, decode
from perception.wire.topic import topic_of

ENCODING = "msgpack"


def pack_record(message: Message) -> bytes:
    """A received message as a msgpack array [header, part, ...]; the header map is copied as it came."""
    packer = msgpack.Packer()
    parts = [packer.pack(bytes(payload)) for payload in message.payloads]
    return b"".join([packer.pack_array_header(1 + len(parts)), message.packed, *parts])


def unpack_record(stream: str, kind: str, data: bytes) -> Message:
    """The message that ``pack_record`` was given, checked as one that comes over a socket.

    Raises:
        WireError: these are not the bytes of a message of this stream and kind.
    """
    return decode([topic_of(stream, kind), *_pieces(data)])


def _pieces(data: bytes) -> Sequence[Buffer]:
    """The header's bytes and those of each part."""
    unpacker = msgpack.Unpacker(max_buffer_size=len(data) + 1)
    unpacker.feed(data)
    try:
        count = unpacker.read_array_header()
        begin = unpacker.tell()
        unpacker.skip()
        header = data[begin : unpacker.tell()]
        parts = [unpacker.unpack() for _ in range(count - 1)]
    except (ValueError, TypeError, RecursionError, msgpack.UnpackException) as error:
        raise WireError(f"A recorded message is not a msgpack array of header and parts: {error}.") from error
    if any(type(part) is not bytes for part in parts) or unpacker.tell() != len(data):
        raise WireError("A recorded message holds something else than a header and binary parts.")
    return [header, *parts]
