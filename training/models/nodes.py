"""The layers of a functional Keras model in the order of their work."""

from __future__ import annotations

from typing import Any

import keras


def nodes_in_order(model: keras.Model) -> list[Any]:
    """The calls of the model's layers, each after the ones it depends on; inputs are left out.

    A node has an ``operation`` (the layer), ``input_tensors`` and ``output_tensors``.
    """
    by_depth = model._nodes_by_depth
    nodes = [node for depth in sorted(by_depth, reverse=True) for node in by_depth[depth]]
    return [node for node in nodes if not isinstance(node.operation, keras.layers.InputLayer)]
