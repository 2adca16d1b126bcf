"""Translate a functional Keras model into an ONNX graph, layer by layer.

The graph is what engines like best: NCHW, batch normalisation folded into the convolution before it,
padding and up-sampling by constants, so that height and width stay dynamic without a single shape
computation. It needs no TensorFlow: a model trained on any Keras backend is exported the same way.
"""

from __future__ import annotations

import keras

from perception.errors import ModelError
from training.layer_settings import no_translation
from training.models.nodes import nodes_in_order
from training.onnx_convolutions import foldable_norms
from training.onnx_graph import OnnxGraph
from training.onnx_layers import translate


def add_keras_model(graph: OnnxGraph, model: keras.Model, frame: str) -> list[str]:
    """Append ``model`` to ``graph``; ``frame`` is an f32 NCHW tensor. Returns the model's outputs, NCHW.

    Raises:
        ModelError: the model holds a layer, or a setting of one, that has no translation here.
    """
    if len(model.inputs) != 1:
        raise ModelError(f"The model takes {len(model.inputs)} inputs; one, the frame, can be exported.")
    nodes = nodes_in_order(model)
    names = [node.operation.name for node in nodes]
    for node in nodes:
        if names.count(node.operation.name) > 1:
            raise no_translation(node.operation, "a layer that is used more than once")
    graph.folded |= foldable_norms(model, nodes)
    values: dict[int, str] = {id(model.inputs[0]): frame}
    for node in nodes:
        outputs = translate(graph, node.operation, [values[id(tensor)] for tensor in node.input_tensors])
        values |= {id(tensor): name for tensor, name in zip(node.output_tensors, outputs)}
    return [values[id(output)] for output in model.outputs]
