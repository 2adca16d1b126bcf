"""Two ONNX graphs become one: an enhancement, and behind it a network that reads what it gives.

The operators and weights of both stay as they are, bytes for bytes; only names change. Neither the onnx package nor
a runtime is needed for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from perception.engines.protobuf import View, field, integer, messages, raw_fields, text
from perception.errors import ModelError

FRAME, IMAGE = "frame", "image"
ENHANCED = "enhanced"  # what a network reads in place of its frame: the image as f32
_PREFIX = "enhancement/"  # of every name of the enhancement, so that none is a name of the network
# Numbers of fields in onnx.proto3.
GRAPH, OPSET, METADATA = 7, 8, 14  # of a model
_NODE, _WEIGHT, _INPUT, _OUTPUT, _SHAPES = 1, 5, 11, 12, 13  # of a graph
_READS, _WRITES, _NODE_NAME, _OPERATOR, _ATTRIBUTE = 1, 2, 3, 4, 5  # of a node
_SUBGRAPHS = (6, 11)  # of an attribute
_WEIGHT_NAME, _VALUE_NAME, _VALUE_TYPE = 8, 1, 2

Rename = Callable[[str], str]


def join_graphs(enhancement: View, network: View, *, model: str, factor: int) -> bytes:
    """The graph (a message of onnx.proto3) that runs ``network`` on what ``enhancement`` makes of the frame.

    It takes the frame that the enhancement takes, a ``factor``-th of the network's where that is fixed, and gives
    what the network gives, and ``image``.

    Raises:
        ModelError: the network reads its frame other than by a cast, or the enhancement holds a branch or loop.
        ValueError: one of them is damaged.
    """
    parts: list[bytes] = []
    for number, value, raw in raw_fields(network):
        if not isinstance(value, memoryview):
            parts.append(bytes(raw))
        elif number == _NODE and FRAME in _texts(value, _READS):
            if text(value, _OPERATOR) != "Cast":
                raise ModelError(
                    f"The model {model!r} reads 'frame' in a {text(value, _OPERATOR)}, and nothing can be put before "
                    "that: it must cast it first, as `roadcast-train export` and `wrap` write it."
                )
            parts.append(field(_NODE, _renamed(value, {_READS: lambda _: _PREFIX + ENHANCED})))
        elif number == _INPUT and text(value, _VALUE_NAME) == FRAME:
            parts.append(field(_INPUT, _divided(value, factor)))
        elif number != _SHAPES or factor == 1:  # shapes that were inferred for the frame at hand hold only for it
            parts.append(bytes(raw))
    nodes = [field(_NODE, _node(node)) for node in messages(enhancement, _NODE)]
    weights = [field(_WEIGHT, _renamed(weight, {_WEIGHT_NAME: _inside})) for weight in messages(enhancement, _WEIGHT)]
    images = [field(_OUTPUT, value) for value in messages(enhancement, _OUTPUT) if text(value, 1) == IMAGE]
    return b"".join([*nodes, *weights, *parts, *images])


def _node(node: memoryview) -> bytes:
    """A node of the enhancement under other names."""
    if any(messages(attribute, number) for attribute in messages(node, _ATTRIBUTE) for number in _SUBGRAPHS):
        raise ModelError(f"The enhancement holds a {text(node, _OPERATOR)}: branches and loops cannot be joined.")
    return _renamed(node, {_READS: _inside, _WRITES: _inside, _NODE_NAME: _PREFIX.__add__})


def _inside(name: str) -> str:
    """A tensor of the enhancement in the joined graph; an empty name is an input that is left out."""
    return name if name in ("", FRAME, IMAGE) else _PREFIX + name


def _renamed(message: memoryview, renames: Mapping[int, Rename]) -> bytes:
    """A message with the texts of these fields renamed."""
    parts = []
    for number, value, raw in raw_fields(message):
        if number in renames and isinstance(value, memoryview):
            parts.append(field(number, renames[number](str(value, "utf-8"))))
        else:
            parts.append(bytes(raw))
    return b"".join(parts)


def _divided(value_info: memoryview, factor: int) -> bytes:
    """The frame [N, H, W, 3] as the enhancement takes it: fixed sides divided; names of free ones stay."""
    if factor == 1:
        return bytes(value_info)
    tensor = messages(messages(value_info, _VALUE_TYPE)[0], 1)[0]
    shape = []
    for axis, dimension in enumerate(messages(messages(tensor, 2)[0], 1)):
        side = integer(dimension, 1)
        shape.append(field(1, field(1, side // factor) if side and axis in (1, 2) else dimension))
    divided = field(1, integer(tensor, 1)) + field(2, b"".join(shape))
    return field(_VALUE_NAME, FRAME) + field(_VALUE_TYPE, field(1, divided))


def _texts(message: memoryview, number: int) -> list[str]:
    return [str(value, "utf-8") for value in messages(message, number)]
