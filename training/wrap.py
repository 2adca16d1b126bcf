"""Make a foreign segmentation model, in ONNX, one of ours: u8 BGR frames in, u8 label maps out.

Channel order, normalisation and layout come before it, argmax and confidence after it. Only operators that
are the same from opset 13 on are added, so that the model keeps the opset it was written in.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import onnx
from onnx import ModelProto, TensorProto, ValueInfoProto, compose, helper, version_converter

from perception.errors import ConfigError, ModelError
from training.card import ModelCard
from training.class_table import Channels
from training.onnx_graph import OnnxGraph

Kind = Literal["logits", "probabilities", "labels"]
Shape = tuple[int | None, ...]

_OLDEST_OPSET = 13
_FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16)


@dataclass(frozen=True, slots=True)
class ForeignModel:
    """What is known about the model, beyond what its file says.

    Its input is ``(frame / scale - mean) / std``, three values each in the model's own channel order.
    """

    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)
    scale: float = 255.0
    order: Literal["rgb", "bgr"] = "rgb"
    layout: Literal["nchw", "nhwc"] | None = None  # None: read from the shape of the input
    kind: Kind | None = None  # None: integers are labels, what comes from a Softmax probabilities, else logits
    output: str | None = None  # None: the first
    upsample: int = 1  # bilinearly, before the argmax

    def __post_init__(self) -> None:
        for name in ("mean", "std"):
            if len(getattr(self, name)) != 3 or not np.isfinite(getattr(self, name)).all():
                raise ConfigError(f"{name} must be three numbers, got {getattr(self, name)}.")
        if min(self.std) <= 0 or not self.scale > 0:
            raise ConfigError(f"std and scale must be positive, got {self.std} and {self.scale}.")
        if self.upsample < 1:
            raise ConfigError(f"upsample must be at least 1, got {self.upsample}.")


def read_foreign(path: Path) -> ModelProto:
    """Read an ONNX file, brought to opset 13 where it is older.

    Raises:
        ModelError: the file is missing or no ONNX model, or too old to be converted.
    """
    try:
        model = onnx.load(path)
        onnx.checker.check_model(model)
    except FileNotFoundError:
        raise ModelError(f"There is no model {path}.") from None
    except Exception as error:  # protobuf's and the checker's errors have no common base
        raise ModelError(f"{path} is not a readable ONNX model: {_first_line(error)}") from None
    opset = next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    if opset >= _OLDEST_OPSET:
        return model
    try:
        return version_converter.convert_version(model, _OLDEST_OPSET)
    except Exception as error:  # as above
        raise ModelError(
            f"{path} is of opset {opset}, which cannot be brought to {_OLDEST_OPSET}: {_first_line(error)} "
            "Export it again with a newer opset."
        ) from None


def wrap(model: ModelProto, foreign: ForeignModel, channels: Channels, card: ModelCard) -> ModelProto:
    """The model between our input and our outputs, with ``card`` as its metadata.

    Raises:
        ModelError: its input or output is not of a form that can be wrapped, or its classes are not those given.
    """
    inner = compose.add_prefix(model, "foreign/")
    given = {weight.name for weight in inner.graph.initializer}
    inputs = [value for value in inner.graph.input if value.name not in given]
    if len(inputs) != 1:
        raise ModelError(f"The model takes {len(inputs)} inputs; one, the picture, can be wrapped.")
    picture, answer = inputs[0], _answer(inner, foreign.output)
    graph = OnnxGraph()
    layout = foreign.layout or _layout(picture)
    feed = _prepare(graph, picture, foreign, layout)
    before = list(graph.nodes)
    graph.nodes.clear()
    outputs = _classify(graph, inner, answer, foreign, channels)
    rename = helper.make_node("Identity", [feed], [picture.name], name="feed")
    batch, height, width = _frame_axes(picture, layout)
    proto = helper.make_graph(
        [*before, rename, *inner.graph.node, *graph.nodes],
        card.id,
        [helper.make_tensor_value_info("frame", TensorProto.UINT8, [batch, height, width, 3])],
        [helper.make_tensor_value_info(name, TensorProto.UINT8, ["N", "h", "w"]) for name in outputs],
        [*inner.graph.initializer, *graph.weights],
        sparse_initializer=list(inner.graph.sparse_initializer),
    )
    wrapped = helper.make_model(
        proto, opset_imports=inner.opset_import, functions=list(inner.functions), producer_name="roadcast"
    )
    wrapped.ir_version = max(8, inner.ir_version)
    helper.set_model_props(wrapped, card.metadata())
    return wrapped


def fixed_size(model: ModelProto, foreign: ForeignModel) -> tuple[int, int] | None:
    """The (w, h) that the model's input is fixed to, None where it takes any."""
    given = {weight.name for weight in model.graph.initializer}
    picture = next(value for value in model.graph.input if value.name not in given)
    _, height, width = _frame_axes(picture, foreign.layout or _layout(picture))
    return (width, height) if isinstance(height, int) and isinstance(width, int) else None


def _answer(inner: ModelProto, name: str | None) -> ValueInfoProto:
    names = [value.name.removeprefix("foreign/") for value in inner.graph.output]
    if name is not None and name not in names:
        raise ModelError(f"The model has no output {name!r}; it has {', '.join(names)}.")
    answer: ValueInfoProto = inner.graph.output[names.index(name) if name is not None else 0]
    return answer


def _prepare(graph: OnnxGraph, picture: ValueInfoProto, foreign: ForeignModel, layout: str) -> str:
    """From the u8 frame to what the model takes; TensorRT wants a u8 input to go straight into a cast."""
    wanted = picture.type.tensor_type.elem_type
    if wanted not in (*_FLOATS, TensorProto.UINT8):
        raise ModelError(f"The model takes {TensorProto.DataType.Name(wanted)}; f32, f16 and u8 can be wrapped.")
    x = graph.add("Cast", ["frame"], to=TensorProto.FLOAT)
    if layout == "nchw":
        x = graph.add("Transpose", [x], perm=[0, 3, 1, 2])
    if foreign.order == "rgb":
        x = graph.add("Gather", [x, graph.constant([2, 1, 0], np.int64)], axis=1 if layout == "nchw" else 3)
    mean, std = (np.asarray(values, np.float64) for values in (foreign.mean, foreign.std))
    gain, shift = 1 / (foreign.scale * std), -mean / std
    if not np.allclose(gain, 1):
        x = graph.add("Mul", [x, graph.constant(_per_channel(gain, layout), np.float32)])
    if shift.any():
        x = graph.add("Add", [x, graph.constant(_per_channel(shift, layout), np.float32)])
    return x if wanted == TensorProto.FLOAT else graph.add("Cast", [x], to=wanted)


def _per_channel(values: npt.NDArray[np.float64], layout: str) -> npt.NDArray[np.float64]:
    return values[:, None, None] if layout == "nchw" else values


def _classify(
    graph: OnnxGraph, inner: ModelProto, answer: ValueInfoProto, foreign: ForeignModel, channels: Channels
) -> list[str]:
    """From the model's answer to ``labels`` and, unless it gives labels itself, ``confidence``."""
    kind = foreign.kind or _kind(inner, answer)
    shape, name = _shape(answer), answer.name
    if kind == "labels":
        _finish(graph, _labels(graph, name, shape, channels), "labels", squeeze=None)
        return ["labels"]
    axis = _class_axis(shape, len(channels.ids))
    x = graph.add("Cast", [name], to=TensorProto.FLOAT)
    if axis == 3:
        x = graph.add("Transpose", [x], perm=[0, 3, 1, 2])
    if foreign.upsample > 1:
        scales = graph.constant([1, 1, foreign.upsample, foreign.upsample], np.float32)
        x = graph.add("Resize", [x, "", scales], mode="linear", coordinate_transformation_mode="half_pixel")
    best = graph.add("ArgMax", [x], axis=1, keepdims=1)
    likely = x if kind == "probabilities" else graph.add("Softmax", [x], axis=1)
    chosen = graph.add("GatherElements", [likely, best], axis=1)
    scaled = graph.add("Mul", [chosen, graph.constant(255.0, np.float32)])
    _finish(graph, _ids(graph, best, channels), "labels", squeeze=1)
    _finish(graph, graph.add("Add", [scaled, graph.constant(0.5, np.float32)]), "confidence", squeeze=1)
    return ["labels", "confidence"]


def _labels(graph: OnnxGraph, name: str, shape: Shape, channels: Channels) -> str:
    whole = graph.add("Cast", [name], to=TensorProto.INT64)
    if len(shape) == 4:
        axis = 1 if shape[1] == 1 else 3
        if shape[axis] != 1:
            raise ModelError(f"The model's labels have the axes {_axes(shape)}; [N, H, W] or one channel is wanted.")
        whole = graph.add("Squeeze", [whole, graph.constant([axis], np.int64)])
    elif len(shape) != 3:
        raise ModelError(f"The model's labels have the axes {_axes(shape)}; [N, H, W] is wanted.")
    return _ids(graph, whole, channels)


def _ids(graph: OnnxGraph, index: str, channels: Channels) -> str:
    """Channel numbers to class ids, as f32."""
    if channels.ids == tuple(range(len(channels.ids))):
        return graph.add("Cast", [index], to=TensorProto.FLOAT)
    return graph.add("Gather", [graph.constant(channels.ids, np.float32), index], axis=0)


def _finish(graph: OnnxGraph, x: str, name: str, *, squeeze: int | None) -> None:
    if squeeze is not None:
        x = graph.add("Squeeze", [x, graph.constant([squeeze], np.int64)])
    graph.add("Cast", [x], name, to=TensorProto.UINT8)


def _kind(inner: ModelProto, answer: ValueInfoProto) -> Kind:
    if answer.type.tensor_type.elem_type not in _FLOATS:
        return "labels"
    last = next((node.op_type for node in inner.graph.node if answer.name in node.output), "")
    return "probabilities" if last == "Softmax" else "logits"


def _class_axis(shape: Shape, classes: int) -> int:
    found = [axis for axis in (1, 3) if len(shape) == 4 and shape[axis] == classes]
    if not found:
        raise ModelError(
            f"The model's output has the axes {_axes(shape)}, none of which is the {classes} classes given; "
            "give its own with --classes, or another --output."
        )
    return found[0]


def _layout(picture: ValueInfoProto) -> Literal["nchw", "nhwc"]:
    shape = _shape(picture)
    found = [axis for axis in (1, 3) if len(shape) == 4 and shape[axis] == 3]
    if len(found) != 1:
        raise ModelError(f"The model's input has the axes {_axes(shape)}: say with --layout where its channels are.")
    return "nchw" if found == [1] else "nhwc"


def _frame_axes(picture: ValueInfoProto, layout: str) -> tuple[int | str, int | str, int | str]:
    batch, *rest = _shape(picture)
    height, width = rest[1:] if layout == "nchw" else rest[:2]
    return batch or "N", height or "H", width or "W"


def _shape(value: ValueInfoProto) -> Shape:
    return tuple(axis.dim_value or None for axis in value.type.tensor_type.shape.dim)


def _axes(shape: Shape) -> str:
    return f"[{', '.join('?' if n is None else str(n) for n in shape)}]"


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).partition("\n")[0]
