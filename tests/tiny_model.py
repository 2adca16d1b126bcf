"""Builds tiny ONNX models that keep the graph contract, or break one rule of it, for tests of anything with an engine.

The network is a colour threshold: a pixel is ``car`` where red leads, ``vegetation`` where green leads,
``sky`` where blue leads, and confidence is the leading value. So a test knows every answer beforehand.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

SKY, VEGETATION, CAR = 10, 8, 13
BY_CHANNEL = np.array([SKY, VEGETATION, CAR], np.uint8)  # blue, green, red


def expected(frames: npt.NDArray[np.uint8], scale: int = 1) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """(labels, confidence) that ``write_model(scale=scale)`` answers to (N, H, W, 3) frames."""
    seen = frames[:, ::scale, ::scale]
    return BY_CHANNEL[seen.argmax(axis=3)], seen.max(axis=3)


def write_model(
    path: Path,
    *,
    size: tuple[int, int] | None = None,
    scale: int = 1,
    multiple: int = 32,
    input_name: str = "frame",
    input_type: int = TensorProto.UINT8,
    labels_name: str = "labels",
    labels_type: int = TensorProto.UINT8,
    metadata: dict[str, str] | None = None,
) -> Path:
    """Write the model to ``path`` and return it.

    Args:
        size: fixed (w, h), None for any size.
        scale: labels are this fraction of the frame in both directions.
        input_name, input_type, labels_name, labels_type: change one to break the contract.
        metadata: added to the model card, or overriding it.
    """
    width, height = size or (None, None)
    small = (None if height is None else height // scale, None if width is None else width // scale)
    nodes = [  # u8 is cast at once and at last, as TensorRT wants it
        helper.make_node("Cast", [input_name], ["all"], to=TensorProto.FLOAT),
        helper.make_node("Slice", ["all", "starts", "ends", "axes", "steps"], ["values"]),
        helper.make_node("ArgMax", ["values"], ["channel"], axis=3, keepdims=0),
        helper.make_node("Gather", ["by_channel", "channel"], ["classes"]),
        helper.make_node("Cast", ["classes"], [labels_name], to=labels_type),
        helper.make_node("ReduceMax", ["values"], ["largest"], axes=[3], keepdims=0),
        helper.make_node("Cast", ["largest"], ["confidence"], to=TensorProto.UINT8),
    ]
    constants = {
        "starts": np.array([0, 0], np.int64),
        "ends": np.array([2**31, 2**31], np.int64),
        "axes": np.array([1, 2], np.int64),
        "steps": np.array([scale, scale], np.int64),
        "by_channel": BY_CHANNEL.astype(np.float32),
    }
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info(input_name, input_type, ["N", height or "H", width or "W", 3])],
        [
            helper.make_tensor_value_info(labels_name, labels_type, ["N", small[0] or "h", small[1] or "w"]),
            helper.make_tensor_value_info("confidence", TensorProto.UINT8, ["N", small[0] or "h", small[1] or "w"]),
        ],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    card = {
        "roadcast.id": "tiny",
        "roadcast.precision": "fp32",
        "roadcast.pixels": str(128 * 64),
        "roadcast.multiple": str(multiple),
        "roadcast.card": json.dumps({"data": "none", "licence": "none"}),
    }
    helper.set_model_props(model, card | (metadata or {}))
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())
    return path
