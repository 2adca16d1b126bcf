"""The grouping of objects alone, as an ONNX model: to time it, and to feed it maps that no network gave."""

from __future__ import annotations

import onnx
from onnx import ModelProto, TensorProto, helper

from perception.classes import CITYSCAPES
from perception.stages.centres import CentreSettings
from training.graph_boundaries import add_boundary_grouping
from training.graph_grouping import HEADS, Method
from training.graph_instances import add_centre_grouping
from training.onnx_graph import OPSET, OnnxGraph


def grouping_model(method: Method, settings: CentreSettings, factor: int = 2) -> ModelProto:
    """A model from labels and confidence, u8 (N, h, w), and the heads of a method, f32 NCHW.

    It gives ``labels``, ``confidence``, ``ids`` and ``id_scores`` of the graph contract; h = factor * H.
    """
    graph = OnnxGraph()
    given = ("labels_in", "confidence_in")
    maps = [
        graph.add("Unsqueeze", [graph.add("Cast", [name], to=TensorProto.FLOAT), graph.constant([1], "int64")])
        for name in given
    ]
    heads, things = HEADS[method], CITYSCAPES.thing_ids()
    add = add_centre_grouping if method == "centre" else add_boundary_grouping
    voted = add(graph, (maps[0], maps[1]), *heads, factor=factor, thing_ids=things, settings=settings)
    for one, name in zip(voted, ("labels", "confidence")):
        graph.add("Cast", [graph.add("Squeeze", [one, graph.constant([1], "int64")])], name, to=TensorProto.UINT8)
    tensor, pixels = helper.make_tensor_value_info, ["N", "h", "w"]
    proto = helper.make_graph(
        graph.nodes,
        "grouping",
        [
            *(tensor(name, TensorProto.UINT8, pixels) for name in given),
            *(tensor(name, TensorProto.FLOAT, ["N", 1 if name == "centres" else 2, "H", "W"]) for name in heads),
        ],
        [
            *(tensor(name, TensorProto.UINT8, pixels) for name in ("labels", "confidence")),
            tensor("ids", TensorProto.INT32, pixels),
            tensor("id_scores", TensorProto.FLOAT, ["N", settings.most]),
        ],
        graph.weights,
    )
    model = helper.make_model(proto, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    return model
