"""An enhancement as an ONNX file: u8 BGR frames in, u8 BGR pictures out, made to be joined with any of our models."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import keras
import numpy as np
import onnx
from onnx import TensorProto, helper

from perception.engines.joining import ENHANCED
from perception.files import write_whole
from training.keras_to_onnx import add_keras_model
from training.onnx_graph import OnnxGraph
from training.onnx_model import assemble
from training.restoration.restorer import factor_of, multiple_of


def export_enhancement(model: keras.Model, path: Path, name: str, facts: Mapping[str, object]) -> None:
    """Write a network from u8 frames to pictures as an enhancement; ``facts`` are the free part of its card, which
    lies beside it as ``<file>.json``.

    Its outputs are ``image``, u8 (N, factor H, factor W, 3), and the same as whole f32 numbers, which is what a
    network behind it is given: TensorRT lets no u8 pass inside a graph. Each file appears whole or not at all.

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
    rule = {"factor": factor_of(model), "multiple": multiple_of(model)}
    metadata = {
        "roadcast.enhancement": name,
        **{f"roadcast.{key}": str(value) for key, value in rule.items()},
        "roadcast.card": json.dumps(dict(facts)),
    }
    proto = assemble(graph, name, outputs, metadata, halve_weights=True)
    onnx.checker.check_model(proto, full_check=True)
    content = proto.SerializeToString()
    write_whole(path, content)
    identity = {"id": name, "file": path.name, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    weights = {"weights": int(model.count_params())}
    write_whole(path.with_suffix(".json"), json.dumps({**identity, **rule, **weights, **facts}, indent=2) + "\n")
