"""The CRF inside a graph: the same arithmetic as in numpy, frames of any size, and the outputs of an export."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from perception.refinement.mean_field import refine
from perception.refinement.settings import CrfSettings
from perception.types import Segmentation
from training.cli import main
from training.graph_crf import add_probabilities, crf_settings, refine_logits
from training.graph_head import add_label_head
from training.onnx_graph import OPSET, OnnxGraph

CLASSES = 6


def model(*, label_stride: int, settings: CrfSettings, probabilities: bool = False) -> onnxruntime.InferenceSession:
    graph = OnnxGraph()
    frame = graph.add("Transpose", [graph.add("Cast", ["frame"], to=TensorProto.FLOAT)], perm=[0, 3, 1, 2])
    if probabilities:
        add_probabilities(graph, "logits")
    add_label_head(
        graph, refine_logits(graph, "logits", frame, label_stride=label_stride, settings=settings), upsample=False
    )
    outputs = [
        helper.make_tensor_value_info(name, TensorProto.UINT8, ["N", "a", "b"]) for name in ("labels", "confidence")
    ]
    if probabilities:
        outputs.append(helper.make_tensor_value_info("probabilities", TensorProto.FLOAT16, ["N", CLASSES, "a", "b"]))
    inputs = [
        helper.make_tensor_value_info("frame", TensorProto.UINT8, ["N", "H", "W", 3]),
        helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", CLASSES, "h", "w"]),
    ]
    proto = helper.make_model(
        helper.make_graph(graph.nodes, "crf", inputs, outputs, graph.weights),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=8,
    )
    onnx.checker.check_model(proto, full_check=True)
    return onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])


def frames(seed: int, height: int, width: int, count: int = 1) -> npt.NDArray[np.uint8]:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (count, height // 16, width // 16, 3), np.uint8).repeat(16, 1).repeat(16, 2)


def logits_like(seed: int, height: int, width: int, count: int = 1) -> npt.NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    coarse = rng.normal(0, 1.5, (count, CLASSES, height // 8, width // 8)).repeat(8, 2).repeat(8, 3)
    return (coarse + rng.normal(0, 0.3, coarse.shape)).astype(np.float32)


@pytest.mark.parametrize("label_stride", [1, 2, 4])
def test_the_graph_does_what_numpy_does(label_stride: int) -> None:
    height, width = 64, 96
    image, logits = frames(1, height * label_stride, width * label_stride), logits_like(2, height, width)
    settings = crf_settings(label_stride)
    session = model(label_stride=label_stride, settings=settings, probabilities=True)
    labels, confidence, probabilities = session.run(None, {"frame": image, "logits": logits})
    exponentials = np.exp(logits[0])
    expected = exponentials / exponentials.sum(axis=0)
    np.testing.assert_allclose(probabilities[0], expected, atol=1e-3)
    before = logits[0].argmax(axis=0).astype(np.uint8)
    found = Segmentation(before, np.zeros(before.shape, np.uint8), probabilities=probabilities[0])
    out = refine(found, np.ascontiguousarray(image[0, ::label_stride, ::label_stride]), settings, classes=CLASSES)
    assert (out.labels == labels[0]).mean() > 0.995
    assert (before != labels[0]).mean() > 0.05, "a test in which something changes"
    assert out.confidence is not None
    assert np.median(np.abs(out.confidence.astype(int) - confidence[0])) <= 1


def test_one_graph_takes_frames_of_any_size_and_several_at_once() -> None:
    session = model(label_stride=1, settings=crf_settings(1))
    image, logits = frames(3, 64, 32, 2), logits_like(4, 64, 32, 2)
    together = session.run(["labels"], {"frame": image, "logits": logits})[0]
    assert together.shape == (2, 64, 32)
    for number in range(2):
        alone = session.run(["labels"], {"frame": image[number : number + 1], "logits": logits[number : number + 1]})
        np.testing.assert_array_equal(alone[0][0], together[number])
    assert session.run(["labels"], {"frame": frames(5, 32, 32), "logits": logits_like(6, 32, 32)})[0].shape == (
        1,
        32,
        32,
    )


@pytest.mark.parametrize(("label_stride", "tile"), [(1, 16), (2, 16), (4, 8), (8, 4)])
def test_tiles_divide_every_map(label_stride: int, tile: int) -> None:
    assert crf_settings(label_stride).tile == tile
    assert 32 // label_stride % tile == 0


def test_a_weight_is_of_a_refinement(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["export", "model.keras", "-o", str(tmp_path / "m.onnx"), "--id", "m", "--pixels", "184320"]
    assert main([*command, "--refine-weight", "1"]) == 2
    assert "--refine-weight is of --refine crf" in capsys.readouterr().err
    assert crf_settings(2, 1.0).weight == 1.0
