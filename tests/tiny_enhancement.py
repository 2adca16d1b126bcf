"""Builds tiny enhancements: ONNX files that invert every colour, so that a test knows every answer beforehand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper


def inverted(frames: npt.NDArray[np.uint8], factor: int = 1) -> npt.NDArray[np.uint8]:
    """What ``write_enhancement(factor=factor)`` makes of (N, H, W, 3) frames."""
    return (255 - frames).repeat(factor, axis=1).repeat(factor, axis=2)


def write_enhancement(
    path: Path, *, factor: int = 1, multiple: int = 1, name: str = "invert", metadata: dict[str, str] | None = None
) -> Path:
    """Write the enhancement to ``path`` and return it; ``metadata`` is added to its card, or overrides it.

    Its tensors have the names of the tiny model's, so that joining the two without renaming would fail.
    """
    how = {"mode": "nearest", "nearest_mode": "floor", "coordinate_transformation_mode": "asymmetric"}
    nodes = [
        helper.make_node("Cast", ["frame"], ["all"], to=TensorProto.FLOAT, name="first"),
        helper.make_node("Sub", ["starts", "all"], ["values"], name="invert"),
        helper.make_node("Resize", ["values", "", "ends"], ["enhanced"], **how),
        helper.make_node("Cast", ["enhanced"], ["image"], to=TensorProto.UINT8),
    ]
    constants = {"starts": np.float32(255), "ends": np.array([1, factor, factor, 1], np.float32)}
    axes = ["N", "h", "w", 3]
    graph = helper.make_graph(
        nodes,
        "invert",
        [helper.make_tensor_value_info("frame", TensorProto.UINT8, ["N", "H", "W", 3])],
        [
            helper.make_tensor_value_info("image", TensorProto.UINT8, axes),
            helper.make_tensor_value_info("enhanced", TensorProto.FLOAT, axes),
        ],
        [numpy_helper.from_array(np.asarray(value), key) for key, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    card = {
        "roadcast.enhancement": name,
        "roadcast.factor": str(factor),
        "roadcast.multiple": str(multiple),
    }
    helper.set_model_props(model, card | (metadata or {}))
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())
    return path
