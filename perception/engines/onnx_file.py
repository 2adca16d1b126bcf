"""Reads what an ONNX file says about itself, without its weights and without any runtime.

Every engine gets the model card and the tensors of the graph from here, so that a model is judged alike
whatever runs it. The file is a protocol buffer; the few fields needed are those of onnx.proto3.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from perception.errors import ModelError

_DTYPES = {1: "float32", 2: "uint8", 3: "int8", 6: "int32", 7: "int64", 9: "bool", 10: "float16", 11: "float64"}
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # wire types


@dataclass(frozen=True, slots=True)
class OnnxTensor:
    """An input or output of a graph. A dimension without a fixed length is None, an unknown shape too."""

    name: str
    dtype: str  # as numpy calls it
    shape: tuple[int | None, ...] | None


@dataclass(frozen=True, slots=True)
class OnnxHeader:
    """An ONNX file without its nodes and weights."""

    inputs: tuple[OnnxTensor, ...]  # what a caller feeds: inputs with a default value are left out
    outputs: tuple[OnnxTensor, ...]
    metadata: dict[str, str]
    sha256: str  # of the whole file, hex


def read_header(path: Path) -> OnnxHeader:
    """Read the inputs, outputs and metadata of an ONNX file.

    Raises:
        ModelError: there is no such file, or it is not an ONNX model.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        reason = "there is no such file" if isinstance(error, FileNotFoundError) else error.strerror
        raise ModelError(f"Cannot read the model {str(path)!r}: {reason}. Give the path of an ONNX file.") from error
    try:
        return _header(data)
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"{str(path)!r} is not a readable ONNX model ({error}; {len(data)} bytes): "
            "it may be damaged, cut short or of another format. Export or copy it again."
        ) from error


def _header(data: bytes) -> OnnxHeader:
    model = memoryview(data)
    graphs = _messages(model, 7)
    if not graphs:
        raise ValueError("it holds no graph")
    graph = graphs[-1]
    defaults = {_text(tensor, 8) for tensor in _messages(graph, 5)}
    inputs = tuple(_tensor(message) for message in _messages(graph, 11))
    return OnnxHeader(
        inputs=tuple(tensor for tensor in inputs if tensor.name not in defaults),
        outputs=tuple(_tensor(message) for message in _messages(graph, 12)),
        metadata={_text(entry, 1): _text(entry, 2) for entry in _messages(model, 14)},
        sha256=hashlib.sha256(data).hexdigest(),
    )


def _tensor(value_info: memoryview) -> OnnxTensor:
    kinds = [kind for type_ in _messages(value_info, 2) for kind in _messages(type_, 1)]
    if not kinds:
        raise ValueError(f"{_text(value_info, 1)!r} is not a tensor")
    code = next((value for number, value in _fields(kinds[0]) if number == 1 and isinstance(value, int)), 0)
    shapes = _messages(kinds[0], 2)
    shape = tuple(_length(dimension) for dimension in _messages(shapes[0], 1)) if shapes else None
    return OnnxTensor(_text(value_info, 1), _DTYPES.get(code, f"ONNX type {code}"), shape)


def _length(dimension: memoryview) -> int | None:
    """The fixed length of a dimension; None where it is only named or given as 0."""
    return next((value for number, value in _fields(dimension) if number == 1 and isinstance(value, int)), 0) or None


def _messages(view: memoryview, wanted: int) -> list[memoryview]:
    return [value for number, value in _fields(view) if number == wanted and isinstance(value, memoryview)]


def _text(view: memoryview, wanted: int) -> str:
    found = _messages(view, wanted)
    return str(found[-1], "utf-8") if found else ""


def _fields(view: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Every field of one protobuf message: its number and its integer or bytes."""
    at, end = 0, len(view)
    while at < end:
        key, at = _varint(view, at)
        number, kind = key >> 3, key & 7
        if kind == _VARINT:
            value, at = _varint(view, at)
            yield number, value
            continue
        if kind == _BYTES:
            length, at = _varint(view, at)
        elif kind in (_FIXED64, _FIXED32):
            length = 8 if kind == _FIXED64 else 4
        else:
            raise ValueError(f"wire type {kind} is unknown")
        if at + length > end:
            raise ValueError("a field reaches beyond its end")
        yield number, view[at : at + length]
        at += length


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
