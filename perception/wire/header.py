"""The header of a message: one msgpack map, read with suspicion and written without ceremony."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import msgpack

from perception.errors import WireError
from perception.geometry import Affine
from perception.ledger import LedgerEntry
from perception.types import Clock, Size
from perception.wire.codecs import MAX_SIDE, Part, part_from_wire
from perception.wire.fields import INT_MAX, Fields
from perception.wire.topic import FRAME_KINDS, VERSION

MAX_HEADER_BYTES = 2**20
MAX_LIST = 2**16  # entries of one list: an object per 16-bit id
MAX_MAP = 1024
MAX_SOURCE_SIDE = 2**16
CLOCKS = ("wall", "media", "virtual")


@dataclass(frozen=True, slots=True)
class Times:
    """When a message was published and, for frame kinds, when its frame was grabbed; all in nanoseconds."""

    published_ns: int  # Unix
    published_mono_ns: int  # the publisher's monotonic clock
    captured_ns: int | None = None  # Unix; frame kinds only, like all that follow
    captured_mono_ns: int | None = None
    media_ns: int | None = None
    clock: Clock | None = None
    estimated: bool = False
    original_ns: int | None = None


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """Which network made this frame's maps."""

    id: str
    sha256: str  # first 16 hex digits of the ONNX file; empty for engines without a file
    precision: str
    engine: str

    def to_wire(self) -> dict[str, str]:
        return {"id": self.id, "sha256": self.sha256, "precision": self.precision, "engine": self.engine}


@dataclass(frozen=True, slots=True)
class FrameInfo:
    """What every message of a frame kind says about its frame."""

    number: int
    size: Size  # (w, h) of this message's arrays
    source_size: Size
    to_source: Affine
    latency_us: Mapping[str, float]
    model: ModelInfo
    classes: str
    ledger: LedgerEntry


@dataclass(frozen=True, slots=True)
class Header:
    """A header whose fields were checked. ``fields`` gives what belongs to one kind only."""

    version: tuple[int, int]
    stream: str
    kind: str
    session: bytes
    boot: bytes
    seq: int
    time: Times
    flags: tuple[str, ...]
    parts: tuple[Part, ...]
    frame: FrameInfo | None  # None for meta, status and event
    fields: Fields


def unpack_header(packed: bytes, stream: str, kind: str) -> Header:
    """The header of a message that came under the topic of ``stream`` and ``kind``.

    Raises:
        WireError: not msgpack, too large, another major version, or any field missing or wrong.
    """
    fields = Fields(_unpack(packed), "header")
    version = cast("tuple[int, int]", fields.integers("version", 2, 0, INT_MAX))
    if version[0] != VERSION[0]:
        raise WireError(f"The message speaks protocol {version[0]}.{version[1]}; this reader knows {VERSION[0]}.x.")
    named = fields.text("stream", 64), fields.text("kind", 32)
    if named != (stream, kind):
        raise WireError(f"The header belongs to {named[0]}/{named[1]}/, its topic is {stream}/{kind}/.")
    flags = fields.items("flags")
    if any(type(flag) is not str for flag in flags):
        raise WireError("header: 'flags' must be a list of text.")
    parts = tuple(part_from_wire(value) for value in fields.items("parts"))
    if len({part.name for part in parts}) != len(parts):
        raise WireError("header: two parts have the same name.")
    of_frame = kind in FRAME_KINDS
    return Header(
        version=version,
        stream=stream,
        kind=kind,
        session=fields.binary("session", 16),
        boot=fields.binary("boot", 8),
        seq=fields.integer("seq"),
        time=_times(fields.submap("time"), of_frame),
        flags=tuple(flags),
        parts=parts,
        frame=_frame_info(fields) if of_frame else None,
        fields=fields,
    )


def ledger_from_wire(fields: Fields) -> LedgerEntry:
    """A ledger as counted by the node. Raises WireError; whether it balances is for an audit to say."""
    dropped = fields.counts("dropped")
    return LedgerEntry(fields.integer("captured"), fields.integer("published"), fields.integer("in_flight"), dropped)


def ledger_to_wire(entry: LedgerEntry) -> dict[str, object]:
    """A ledger as a msgpack map."""
    return {
        "captured": entry.captured,
        "published": entry.published,
        "in_flight": entry.in_flight,
        "dropped": dict(entry.dropped),
    }


def model_from_wire(fields: Fields) -> ModelInfo:
    """The identity of a model. Raises WireError."""
    return ModelInfo(fields.text("id"), fields.text("sha256", 64), fields.text("precision"), fields.text("engine"))


def pack_header(header: Mapping[str, object]) -> bytes:
    """A header map as bytes. Raises WireError if it is larger than the protocol allows."""
    packed = cast("bytes", msgpack.packb(header))
    if len(packed) > MAX_HEADER_BYTES:
        raise WireError(f"A header of {len(packed)} bytes cannot be sent; {MAX_HEADER_BYTES} are allowed.")
    return packed


def _unpack(packed: bytes) -> Any:
    if not 0 < len(packed) <= MAX_HEADER_BYTES:
        raise WireError(f"A header has 1 to {MAX_HEADER_BYTES} bytes; this one has {len(packed)}.")
    try:
        # The first pass allocates nothing: it proves that every list and map is as long as it claims.
        measured = msgpack.Unpacker(max_buffer_size=len(packed))
        measured.feed(packed)
        measured.skip()
        return msgpack.unpackb(packed, strict_map_key=False, max_ext_len=0, max_array_len=MAX_LIST, max_map_len=MAX_MAP)
    except (ValueError, TypeError, RecursionError, OverflowError, msgpack.UnpackException) as error:
        raise WireError(
            f"The header is not a msgpack map of this protocol: {error or type(error).__name__}."
        ) from error


def _times(fields: Fields, of_frame: bool) -> Times:
    published = fields.integer("published_ns"), fields.integer("published_mono_ns")
    if not of_frame:
        return Times(*published)
    clock = fields.text("clock")
    if clock not in CLOCKS:
        raise WireError(f"header.time: 'clock' must be one of {' '.join(CLOCKS)}, got {clock!r}.")
    return Times(
        *published,
        captured_ns=fields.integer("captured_ns"),
        captured_mono_ns=fields.integer("captured_mono_ns"),
        media_ns=fields.optional_integer("media_ns"),
        clock=cast("Clock", clock),
        estimated=fields.boolean("estimated"),
        original_ns=fields.optional_integer("original_ns"),
    )


def _frame_info(fields: Fields) -> FrameInfo:
    return FrameInfo(
        number=fields.integer("frame"),
        size=cast("Size", fields.integers("size", 2, 0, MAX_SIDE)),
        source_size=cast("Size", fields.integers("source_size", 2, 0, MAX_SOURCE_SIDE)),
        to_source=cast("Affine", fields.floats("to_source", 6)),
        latency_us=fields.numbers("latency_us"),
        model=model_from_wire(fields.submap("model")),
        classes=fields.text("classes"),
        ledger=ledger_from_wire(fields.submap("ledger")),
    )
