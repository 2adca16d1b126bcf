"""Protocol buffers, read and written field by field: enough to look into ONNX files, and to join two of them."""

from __future__ import annotations

from collections.abc import Iterator

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # wire types

Value = int | memoryview
View = memoryview | bytes


def fields(view: View) -> Iterator[tuple[int, Value]]:
    """Every field of one message: its number and its integer or bytes. Raises ValueError for a damaged one."""
    for number, value, _ in raw_fields(view):
        yield number, value


def raw_fields(view: View) -> Iterator[tuple[int, Value, memoryview]]:
    """As ``fields``, and with each the bytes that it is written in, its key included."""
    view = memoryview(view)
    at, end = 0, len(view)
    while at < end:
        start = at
        key, at = _varint(view, at)
        number, kind = key >> 3, key & 7
        if kind == _VARINT:
            integer, at = _varint(view, at)
            yield number, integer, view[start:at]
            continue
        if kind == _BYTES:
            length, at = _varint(view, at)
        elif kind in (_FIXED64, _FIXED32):
            length = 8 if kind == _FIXED64 else 4
        else:
            raise ValueError(f"wire type {kind} is unknown")
        if at + length > end:
            raise ValueError("a field reaches beyond its end")
        yield number, view[at : at + length], view[start : at + length]
        at += length


def messages(view: View, wanted: int) -> list[memoryview]:
    """The bytes of every field of this number."""
    return [value for number, value in fields(view) if number == wanted and isinstance(value, memoryview)]


def text(view: View, wanted: int) -> str:
    """The last text of this number, empty where there is none."""
    found = messages(view, wanted)
    return str(found[-1], "utf-8") if found else ""


def integer(view: View, wanted: int) -> int:
    """The first integer of this number, 0 where there is none."""
    return next((value for number, value in fields(view) if number == wanted and isinstance(value, int)), 0)


def field(number: int, content: View | str | int) -> bytes:
    """One field: bytes, text, or a whole number from 0."""
    if isinstance(content, int):
        return _packed(number << 3 | _VARINT) + _packed(content)
    data = content.encode() if isinstance(content, str) else bytes(content)
    return _packed(number << 3 | _BYTES) + _packed(len(data)) + data


def _packed(value: int) -> bytes:
    digits = bytearray()
    while value >= 0x80:
        digits.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*digits, value])


def _varint(view: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(view):
            raise ValueError("it ends inside a number")
        byte = view[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("a number is too long")
