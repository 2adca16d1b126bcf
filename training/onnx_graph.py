"""An ONNX graph under construction."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import NodeProto, TensorProto, helper, numpy_helper

OPSET = 17


class OnnxGraph:
    """Nodes and weights of a graph under construction; names are unique and follow the layers."""

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.weights: list[TensorProto] = []
        self.folded: dict[str, Any] = {}  # batch normalisation by the name of the convolution that takes it in
        self._count = 0

    def add(self, op: str, inputs: list[str], name: str | None = None, **attributes: Any) -> str:
        """Append a node with one output and return the name of that output."""
        self._count += 1
        output = name or f"{op.lower()}_{self._count}"
        self.nodes.append(helper.make_node(op, inputs, [output], name=f"node_{output}", **attributes))
        return output

    def split(self, x: str, parts: int, *, axis: int) -> list[str]:
        """Append a node that cuts a tensor into equal parts and return their names."""
        self._count += 1
        outputs = [f"split_{self._count}_{part}" for part in range(parts)]
        self.nodes.append(helper.make_node("Split", [x], outputs, name=f"node_split_{self._count}", axis=axis))
        return outputs

    def add_pair(self, op: str, inputs: list[str], **attributes: Any) -> tuple[str, str]:
        """Append a node with two outputs and return their names."""
        self._count += 1
        outputs = [f"{op.lower()}_{self._count}_{part}" for part in range(2)]
        self.nodes.append(helper.make_node(op, inputs, outputs, name=f"node_{op.lower()}_{self._count}", **attributes))
        return outputs[0], outputs[1]

    def constant(self, values: npt.ArrayLike, dtype: npt.DTypeLike, name: str | None = None) -> str:
        """Append a constant tensor and return its name."""
        self._count += 1
        name = name or f"constant_{self._count}"
        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(values, dtype), name))
        return name
