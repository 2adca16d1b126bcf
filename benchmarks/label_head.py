"""The cost of turning logits into labels and confidence, in different forms of the same graph.

    python benchmarks/label_head.py [--size 160x88] [--rounds 25]

Logits of 19 classes at the given size become u8 maps of twice the size; one core, forms and engines in turn.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper

from training.data.taxonomy import CLASSES
from training.graph_head import add_label_head
from training.onnx_graph import OPSET, OnnxGraph

Run = Callable[[np.ndarray], object]


def resize_then_argmax(graph: OnnxGraph) -> None:
    """The plain form: Resize, Softmax, ArgMax and ReduceMax over the channel axis."""
    large = graph.add(
        "Resize",
        ["logits", "", graph.constant([1, 1, 2, 2], np.float32)],
        mode="linear",
        coordinate_transformation_mode="half_pixel",
    )
    best = graph.add("ArgMax", [large], axis=1, keepdims=0)
    graph.add("Cast", [best], "labels", to=TensorProto.UINT8)
    highest = graph.add("ReduceMax", [graph.add("Softmax", [large], axis=1)], axes=[1], keepdims=0)
    scaled = graph.add("Mul", [highest, graph.constant(255.0, np.float32)])
    graph.add("Cast", [scaled], "confidence", to=TensorProto.UINT8)


def phases(graph: OnnxGraph) -> None:
    """The exported form: four sub-pixel phases classified at the logits' size."""
    add_label_head(graph, "logits", upsample=True)


FORMS = {"resize, softmax, argmax": resize_then_argmax, "sub-pixel phases": phases}


def main() -> None:
    """Print the median of every form in every engine that is installed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", default="160x88", help="of the logits")
    parser.add_argument("--rounds", type=int, default=25)
    args = parser.parse_args()
    width, height = map(int, args.size.split("x"))
    logits = np.random.default_rng(1).normal(0, 3, (1, CLASSES, height, width)).astype(np.float32)
    runs = {(form, engine): run for form, build in FORMS.items() for engine, run in _engines(_model(build)).items()}
    times: dict[tuple[str, str], list[float]] = {key: [] for key in runs}
    for _ in range(args.rounds):
        for key, run in runs.items():
            started = time.perf_counter()
            run(logits)
            times[key].append(time.perf_counter() - started)
    for (form, engine), taken in times.items():
        print(f"{form:26}{engine:16}{statistics.median(taken) * 1000:7.2f} ms")


def _model(build: Callable[[OnnxGraph], None]) -> bytes:
    graph = OnnxGraph()
    build(graph)
    proto = helper.make_graph(
        graph.nodes,
        "head",
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, CLASSES, "h", "w"])],
        [helper.make_tensor_value_info(name, TensorProto.UINT8, [1, "H", "W"]) for name in ("labels", "confidence")],
        graph.weights,
    )
    model = helper.make_model(proto, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def _engines(model: bytes) -> dict[str, Run]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options)
    runs: dict[str, Run] = {"ONNX Runtime": lambda logits: session.run(None, {"logits": logits})}
    try:
        import openvino
    except ImportError:
        return runs
    core = openvino.Core()
    for precision in ("f32", "bf16"):
        settings = {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": precision}
        request = core.compile_model(core.read_model(model), "CPU", settings).create_infer_request()
        runs[f"OpenVINO {precision}"] = lambda logits, request=request: request.infer({"logits": logits})
    return runs


if __name__ == "__main__":
    main()
