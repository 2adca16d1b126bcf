"""An enhancement as an ONNX file: u8 BGR frames in, u8 BGR pictures out, made to be joined with any of our models."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import keras
import numpy as np
import onnx
from onnx import TensorProto, helper

from perception.engines.joining import ENHANCED
from training.files import write_atomically
from training.keras_to_onnx import add_keras_model
from training.onnx_graph import OnnxGraph
from training.onnx_model import assemble
from training.restoration.restorer import factor_of, multiple_of


def export_enhancement(model: keras.Model, path: Path, name: str, facts: Mapping[str, object]) -> None:
    """Write a network from u8 frames to pictures as an enhancement; ``facts`` are the free part of its card.

    Its outputs are ``image``, u8 (N, factor H, factor W, 3), and the same as whole f32 numbers, which is what a
    network behind it is given: TensorRT lets no u8 pass inside a graph. The file appears whole or not at all.

    Raises:
        ModelError: a layer has no translation, or a weight is not finite.
        OutputError: the file cannot be written.
    """
    graph = OnnxGraph()
    x = graph.add("Transpose", [graph.add("Cast", ["frame"], to=TensorProto.FLOAT)], perm=[0, 3, 1, 2])
    picture = add_keras_model(graph, model, x)[0]
    rounded = graph.add("Floor", [graph.add("Add", [picture, graph.constant(0.5, np.float32)])])
    enhanced = graph.add("Transpose", [rounded], ENHANCED, perm=[0, 2, 3, 1])
    graph.add("Cast", [enhanced], "image", to=TensorProto.UINT8)
    sides: list[str | int | None] = ["N", "h", "w", 3]
    outputs = [
        helper.make_tensor_value_info("image", TensorProto.UINT8, sides),
        helper.make_tensor_value_info(ENHANCED, TensorProto.FLOAT, sides),
    ]
    metadata = {
        "roadcast.enhancement": name,
        "roadcast.factor": str(factor_of(model)),
        "roadcast.multiple": str(multiple_of(model)),
        "roadcast.card": json.dumps(dict(facts)),
    }
    proto = assemble(graph, name, outputs, metadata, halve_weights=True)
    onnx.checker.check_model(proto, full_check=True)
    write_atomically(path, proto.SerializeToString())
