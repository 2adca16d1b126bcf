"""A received message: its header checked at once, its arrays decoded when they are asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from perception.errors import WireError
from perception.wire.codecs import Buffer, Part, decode_array
from perception.wire.fields import Fields
from perception.wire.header import Header, unpack_header
from perception.wire.objects import ObjectTable, objects_from_wire
from perception.wire.topic import KINDS, parse_topic

# kind: (name of its one part, its dtype, its number of axes)
_MAPS = {"labels": ("labels", "u1", 2), "confidence": ("confidence", "u1", 2), "image": ("image", "u1", 3)}
_MASK = "mask/"


@dataclass(frozen=True, eq=False)
class Message:
    """One message of one topic. Arrays are read-only and decoded once."""

    header: Header
    payloads: tuple[Buffer, ...]
    objects: ObjectTable | None = None  # of kind objects
    received_mono_ns: int = 0  # the reader's monotonic clock, 0 where nobody received it
    received_ns: int = 0  # the reader's Unix clock
    packed: bytes = b""  # the header as it came
    _arrays: dict[str, npt.NDArray[Any]] = field(default_factory=dict, repr=False)

    @property
    def stream(self) -> str:
        return self.header.stream

    @property
    def kind(self) -> str:
        return self.header.kind

    @property
    def frame(self) -> int | None:
        """The frame's number; None for meta, status and event."""
        return None if self.header.frame is None else self.header.frame.number

    @cached_property
    def nbytes(self) -> int:
        """Bytes of all parts on the wire, topic and header not counted."""
        return sum(len(payload) for payload in self.payloads)

    @cached_property
    def _parts(self) -> dict[str, tuple[Part, Buffer]]:
        return {part.name: (part, payload) for part, payload in zip(self.header.parts, self.payloads)}

    @cached_property
    def body(self) -> Mapping[str, Any]:
        """The map of a message without arrays: what stands under ``meta``, ``status``, ``event`` or ``summary``."""
        return self.header.fields.plain(self.kind)

    def array(self, name: str) -> npt.NDArray[Any]:
        """The part of this name as an array.

        Raises:
            KeyError: the message has no such part.
            WireError: the part is not what the header promises.
        """
        if name not in self._arrays:
            part, payload = self.part(name)
            decoded = decode_array(part, payload)
            decoded.flags.writeable = False
            self._arrays[name] = decoded
        return self._arrays[name]

    def part(self, name: str) -> tuple[Part, Buffer]:
        """The description and the bytes of one part; KeyError if there is none of that name."""
        if name not in self._parts:
            raise KeyError(f"a message of kind {self.kind!r} has no part {name!r}")
        return self._parts[name]

    def has(self, name: str) -> bool:
        """Whether there is a part of this name."""
        return name in self._parts

    def mask(self, object_id: int) -> npt.NDArray[np.bool_]:
        """The pixels of one object, (h, w) over the whole map. Raises KeyError where there is no such object."""
        if self.objects is None or self.header.frame is None:
            raise KeyError(f"a message of kind {self.kind!r} has no objects")
        row = self.objects.row_of(object_id)
        if self.has("ids"):
            return np.asarray(self.array("ids") == object_id, np.bool_)
        x0, y0, x1, y1 = self.objects.boxes[row].tolist()
        width, height = self.header.frame.size
        mask = np.zeros((height, width), np.bool_)
        mask[y0:y1, x0:x1] = self.array(f"{_MASK}{object_id}") != 0
        return mask


def decode(frames: Sequence[Buffer], *, received_ns: int = 0, received_mono_ns: int = 0) -> Message:
    """A message from the parts of one ZeroMQ message.

    Everything but the contents of the arrays is checked here; those are checked when they are decoded.

    Raises:
        WireError: whatever is wrong with it.
    """
    if len(frames) < 2:
        raise WireError(f"A message has a topic and a header; this one has {len(frames)} parts.")
    stream, kind = parse_topic(bytes(frames[0]))
    if kind not in KINDS:
        raise WireError(f"There is no kind {kind!r} in this version of the protocol.")
    header = unpack_header(bytes(frames[1]), stream, kind)
    payloads = tuple(frames[2:])
    if [part.bytes for part in header.parts] != [len(payload) for payload in payloads]:
        raise WireError(f"The {len(payloads)} parts of a {kind} message are not those that its header describes.")
    objects = _check_kind(header)
    return Message(header, payloads, objects, received_mono_ns, received_ns, bytes(frames[1]))


def _check_kind(header: Header) -> ObjectTable | None:
    """Check what the kind demands; returns the table of a message of kind objects."""
    kind, frame = header.kind, header.frame
    if kind in _MAPS and frame is not None:
        name, dtype, rank = _MAPS[kind]
        part = next((part for part in header.parts if part.name == name), None)
        width, height = frame.size
        if part is None or part.dtype != dtype or len(part.shape) != rank or part.shape[:2] != (height, width):
            raise WireError(f"A {kind} message needs a part {name!r} of dtype {dtype} and size {width} x {height}.")
        if (part.codec == "jpeg") != (kind == "image"):
            raise WireError(f"A {kind} message cannot be sent with codec {part.codec}.")
    elif kind == "objects" and frame is not None:
        table = objects_from_wire(header.fields, frame.size)
        _check_masks(header.parts, table, frame.size)
        return table
    elif kind == "event":
        Fields(header.fields.plain(kind), "event").text("name")
    else:
        header.fields.plain(kind)
    return None


def _check_masks(parts: Sequence[Part], table: ObjectTable, size: tuple[int, int]) -> None:
    named = {part.name: part for part in parts}
    if "ids" in named:
        if named["ids"].dtype != "u2" or named["ids"].shape != size[::-1]:
            raise WireError(f"Part 'ids' must be u2 of size {size[0]} x {size[1]}.")
        return
    for object_id, (x0, y0, x1, y1) in zip(table.ids.tolist(), table.boxes.tolist()):
        part = named.get(f"{_MASK}{object_id}")
        if part is None or part.dtype != "u1" or part.shape != (y1 - y0, x1 - x0):
            raise WireError(f"Object {object_id} needs a part '{_MASK}{object_id}' of u1, as large as its box.")
