"""Export a trained Keras model as the one ONNX file that every engine runs.

The graph takes u8 BGR frames and gives u8 maps; normalisation is inside the model, argmax and
confidence are added here. The file's metadata is the model card.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from perception.errors import ModelError
from training.card import ModelCard
from training.files import write_atomically
from training.graph_head import add_label_head
from training.keras_to_onnx import add_keras_model
from training.onnx_graph import OPSET, OnnxGraph

# Below this many values a weight stays f32: nothing to save, and scalars keep their exact value.
_SMALLEST_HALF_WEIGHT = 64


def export_onnx(model: keras.Model, path: Path, card: ModelCard, *, label_stride: int) -> None:
    """Write ``model`` (u8 frames to logits at half size) as an ONNX file under the graph contract.

    ``label_stride`` is 2 for maps at half the network's size, 1 for full size. Weights are stored as
    f16 behind a Cast, which engines fold at load. The file appears whole or not at all.

    Raises:
        ModelError: a layer has no translation, a weight is not finite, or the stride is neither 1 nor 2.
        OutputError: the file cannot be written.
    """
    if label_stride not in (1, 2):
        raise ModelError(f"Label stride must be 1 or 2, got {label_stride}.")
    graph = OnnxGraph()
    # TensorRT takes u8 inputs only straight into a cast.
    x = graph.add("Transpose", [graph.add("Cast", ["frame"], to=TensorProto.FLOAT)], perm=[0, 3, 1, 2])
    logits = add_keras_model(graph, model, x)[0]
    add_label_head(graph, logits, upsample=label_stride == 1)
    proto = _assemble(graph, card)
    onnx.checker.check_model(proto, full_check=True)
    write_atomically(path, proto.SerializeToString())


def replace_card(path: Path, card: ModelCard) -> None:
    """Give an exported file another card, such as one with the scores measured on it; the graph stays."""
    proto = onnx.load(path)
    del proto.metadata_props[:]
    helper.set_model_props(proto, card.metadata())
    write_atomically(path, proto.SerializeToString())


def _assemble(graph: OnnxGraph, card: ModelCard) -> onnx.ModelProto:
    casts, weights = [], []
    for weight in graph.weights:
        values = numpy_helper.to_array(weight)
        if values.dtype == np.float32 and values.size >= _SMALLEST_HALF_WEIGHT:
            half = f"{weight.name}.f16"
            weights.append(numpy_helper.from_array(_halved(values, weight.name), half))
            casts.append(
                helper.make_node("Cast", [half], [weight.name], name=f"widen_{weight.name}", to=TensorProto.FLOAT)
            )
        else:
            weights.append(weight)
    proto = helper.make_graph(
        [*casts, *graph.nodes],
        card.id,
        [helper.make_tensor_value_info("frame", TensorProto.UINT8, ["N", "H", "W", 3])],
        [helper.make_tensor_value_info(name, TensorProto.UINT8, ["N", "h", "w"]) for name in ("labels", "confidence")],
        weights,
    )
    model = helper.make_model(proto, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="roadcast")
    model.ir_version = 8
    helper.set_model_props(model, card.metadata())
    return model


def _halved(values: npt.NDArray[Any], name: str) -> npt.NDArray[np.float16]:
    largest = float(np.abs(values).max())
    if not largest <= float(np.finfo(np.float16).max):  # NaN too
        raise ModelError(f"Weights {name!r} reach {largest:g}, which no f16 holds: the training has diverged.")
    return values.astype(np.float16)
