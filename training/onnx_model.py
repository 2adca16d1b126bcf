"""From a finished graph to an ONNX model: weights stored as halves, metadata, versions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, ValueInfoProto, helper, numpy_helper

from perception.errors import ModelError
from training.onnx_graph import OPSET, OnnxGraph

# Below this many values a weight stays f32: nothing to save, and scalars keep their exact value.
_SMALLEST_HALF_WEIGHT = 64


def assemble(
    graph: OnnxGraph, name: str, outputs: Sequence[ValueInfoProto], metadata: Mapping[str, str], *, halve_weights: bool
) -> onnx.ModelProto:
    """The model that takes ``frame``, u8 (N, H, W, 3), and gives ``outputs``.

    With ``halve_weights``, f32 weights are stored as f16 behind a Cast, which engines fold at load.

    Raises:
        ModelError: a weight is not finite, or beyond what f16 holds.
    """
    casts, weights = [], []
    for weight in graph.weights:
        values = numpy_helper.to_array(weight)
        if halve_weights and values.dtype == np.float32 and values.size >= _SMALLEST_HALF_WEIGHT:
            half = f"{weight.name}.f16"
            weights.append(numpy_helper.from_array(_halved(values, weight.name), half))
            casts.append(
                helper.make_node("Cast", [half], [weight.name], name=f"widen_{weight.name}", to=TensorProto.FLOAT)
            )
        else:
            weights.append(weight)
    frame = helper.make_tensor_value_info("frame", TensorProto.UINT8, ["N", "H", "W", 3])
    proto = helper.make_graph([*casts, *graph.nodes], name, [frame], list(outputs), weights)
    model = helper.make_model(proto, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="roadcast")
    model.ir_version = 8
    helper.set_model_props(model, dict(metadata))
    return model


def _halved(values: npt.NDArray[Any], name: str) -> npt.NDArray[np.float16]:
    largest = float(np.abs(values).max())
    if not largest <= float(np.finfo(np.float16).max):  # NaN too
        raise ModelError(f"Weights {name!r} reach {largest:g}, which no f16 holds: the training has diverged.")
    return values.astype(np.float16)
