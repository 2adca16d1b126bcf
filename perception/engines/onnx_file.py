"""Reads what an ONNX file says about itself, without its weights and without any runtime.

Every engine gets the model card and the tensors of the graph from here, so that a model is judged alike
whatever runs it. The file is a protocol buffer; the few fields needed are those of onnx.proto3.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from perception.engines.protobuf import integer, messages, text
from perception.errors import ModelError

_ZIP = b"PK\x03\x04"  # how an archive begins
_DTYPES = {1: "float32", 2: "uint8", 3: "int8", 6: "int32", 7: "int64", 9: "bool", 10: "float16", 11: "float64"}


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
    if data.startswith(_ZIP):
        raise ModelError(
            f"{str(path)!r} is no ONNX model but an archive, as Keras and PyTorch save models: "
            "`roadcast-train export` makes an ONNX file of a .keras model."
        )
    try:
        return _header(data)
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"{str(path)!r} is not a readable ONNX model ({error}; {len(data)} bytes): "
            "it may be damaged, cut short or of another format. Export or copy it again."
        ) from error


def _header(data: bytes) -> OnnxHeader:
    model = memoryview(data)
    graphs = messages(model, 7)
    if not graphs:
        raise ValueError("it holds no graph")
    graph = graphs[-1]
    defaults = {text(tensor, 8) for tensor in messages(graph, 5)}
    inputs = tuple(_tensor(message) for message in messages(graph, 11))
    return OnnxHeader(
        inputs=tuple(tensor for tensor in inputs if tensor.name not in defaults),
        outputs=tuple(_tensor(message) for message in messages(graph, 12)),
        metadata={text(entry, 1): text(entry, 2) for entry in messages(model, 14)},
        sha256=hashlib.sha256(data).hexdigest(),
    )


def _tensor(value_info: memoryview) -> OnnxTensor:
    kinds = [kind for type_ in messages(value_info, 2) for kind in messages(type_, 1)]
    if not kinds:
        raise ValueError(f"{text(value_info, 1)!r} is not a tensor")
    code = integer(kinds[0], 1)
    shapes = messages(kinds[0], 2)
    shape = tuple(_length(dimension) for dimension in messages(shapes[0], 1)) if shapes else None
    return OnnxTensor(text(value_info, 1), _DTYPES.get(code, f"ONNX type {code}"), shape)


def _length(dimension: memoryview) -> int | None:
    """The fixed length of a dimension; None where it is only named or given as 0."""
    return integer(dimension, 1) or None
