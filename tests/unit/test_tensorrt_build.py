"""Compiling with the real library, which needs no GPU: shapes, argmax, progress, and what it says of bad models."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import onnx
import pytest
import tiny_model
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from perception.engines.contract import read_spec
from perception.engines.tensorrt.build import Recipe, build_plan, targets
from perception.engines.tensorrt.layers import Layer, read_layers, summarise
from perception.engines.tensorrt.library import load_library, loadable, plain_reason
from perception.engines.tensorrt.progress import BuildProgress
from perception.engines.tensorrt.shapes import Shapes, choose_shapes
from perception.errors import ConfigError, EngineUnavailable, ModelError

SHAPES = Shapes((1, 1, 4), ((64, 32), (64, 32), (128, 64)))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return tiny_model.write_model(tmp_path / "tiny.onnx", scale=2)


def test_compiles_for_another_gpu(library, model):
    lines: list[str] = []
    built = build_plan(library, model, Recipe("sm89", SHAPES), show=lines.append)
    assert len(built.plan) > 10_000
    assert summarise(built.layers)["kernels"] >= 1
    assert built.seconds > 0
    assert lines
    assert lines[0] == "reading the model"
    assert all(re.match(r"compiling: \d+%", line) for line in lines[1:])


@pytest.mark.parametrize(("fused", "topk"), [(True, 0), (False, 1)])
def test_argmax_is_fused_where_wanted(library, tmp_path, fused, topk):
    model = classifier(tmp_path / "classifier.onnx")
    shapes = Shapes((1, 1, 1), ((64, 32),) * 3)
    built = build_plan(library, model, Recipe("sm89", shapes, fused_argmax=fused))
    assert summarise(built.layers)["topk"] == topk


def classifier(path: Path, axis: int = 1) -> Path:
    """A convolution to 19 logits, argmax, and the largest logit as confidence."""
    weights = np.random.default_rng(1).normal(size=(19, 3, 3, 3)).astype(np.float32)
    nodes = [
        helper.make_node("Cast", ["frame"], ["x"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["x"], ["nchw"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["nchw", "w"], ["logits"], name="the_convolution", pads=[1, 1, 1, 1]),
        helper.make_node("ArgMax", ["logits"], ["best"], axis=axis, keepdims=0),
        helper.make_node("Cast", ["best"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Cast", ["float"], ["labels"], to=TensorProto.UINT8),
    ]
    return _save(path, nodes, [numpy_helper.from_array(weights, "w")])


def _save(path: Path, nodes: list[onnx.NodeProto], weights: list[onnx.TensorProto]) -> Path:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("frame", TensorProto.UINT8, ["N", "H", "W", 3])],
        [helper.make_tensor_value_info("labels", TensorProto.UINT8, ["N", "h", "w"])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    path.write_bytes(model.SerializeToString())
    return path


def test_a_layer_that_is_not_supported_is_named(library, tmp_path):
    nodes = [
        helper.make_node("Cast", ["frame"], ["x"], to=TensorProto.FLOAT),
        helper.make_node("Det", ["x"], ["y"], name="the_determinant"),
        helper.make_node("Cast", ["y"], ["labels"], to=TensorProto.UINT8),
    ]
    model = _save(tmp_path / "odd.onnx", nodes, [])
    with pytest.raises(ModelError, match=r"layer 'the_determinant' \(Det\)") as caught:
        build_plan(library, model, Recipe("sm89", SHAPES))
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith("the model may run with --engine onnxruntime.")
    assert str(library) in str(caught.value)


def test_u8_in_the_wrong_place_says_what_to_do(library, tmp_path):
    nodes = [
        helper.make_node("Slice", ["frame", "s", "e", "a"], ["labels"], name="cut"),
    ]
    weights = [numpy_helper.from_array(np.array([n]), name) for name, n in (("s", 0), ("e", 1), ("a", 3))]
    with pytest.raises(ModelError, match=r"layer 'cut' \(Slice\).*straight into a Cast.*with --engine onnxruntime"):
        build_plan(library, _save(tmp_path / "u8.onnx", nodes, weights), Recipe("sm89", SHAPES))


def test_an_unreadable_file_is_refused(library, tmp_path):
    path = tmp_path / "noise.onnx"
    path.write_bytes(b"\x00\x01nothing of the kind" * 40)
    with pytest.raises(ModelError, match=r"cannot (read|compile)"):
        build_plan(library, path, Recipe("sm89", SHAPES))


def test_a_build_can_be_cancelled(library, model):
    with pytest.raises(KeyboardInterrupt):
        build_plan(library, model, Recipe("sm89", SHAPES), cancelled=lambda: True)


def test_an_unknown_target_names_the_known_ones(library, model):
    assert "sm89" in targets(library)
    with pytest.raises(ConfigError, match=r"does not compile for sm90\. It knows: sm75, "):
        build_plan(library, model, Recipe("sm90", SHAPES))


def test_a_missing_library_says_how_to_get_it():
    for backend, found in loadable().items():
        if isinstance(found, str):
            with pytest.raises(EngineUnavailable, match=r"Install it with: pip install"):
                load_library(backend)
        else:
            assert found.backend == backend
            assert found.version[0].isdigit()


# ---- shapes


@pytest.mark.parametrize(
    ("size", "batch", "text", "flags"),
    [
        (None, None, "1 x 128x64", "--size 128x64 --batch 1"),
        ("64x32", "1,2,4", "1..4 x 64x32", "--size 64x32 --batch 1,2,4"),
        ("64x32,96x64,128x64", "2", "2 x 64x32..128x64", "--size 64x32,96x64,128x64 --batch 2"),
    ],
)
def test_shapes_from_flags_and_back(model, size, batch, text, flags):
    spec = read_spec(model)
    shapes = choose_shapes(spec, size, batch)
    assert (str(shapes), shapes.flags()) == (text, flags)
    words = shapes.flags().split()
    assert choose_shapes(spec, words[1], words[3]) == shapes
    assert Shapes.from_json(json.loads(json.dumps(shapes.to_json()))) == shapes


@pytest.mark.parametrize(
    ("size", "batch", "error"),
    [
        ("64", None, "WIDTHxHEIGHT"),
        ("64x32,", None, "WIDTHxHEIGHT"),
        ("64x32,128x64", None, "one value, or smallest"),
        ("128x64,64x32,64x32", None, "smallest, the most common"),
        ("50x50", None, "multiples of 32"),
        ("9000x32", None, "WIDTHxHEIGHT"),
        (None, "0", "1 to 64"),
        (None, "4,2,1", "smallest, most common"),
        (None, "two", "number of frames"),
        (None, "1,2", "one value, or smallest"),
    ],
)
def test_impossible_shapes(model, size, batch, error):
    with pytest.raises(ConfigError, match=error):
        choose_shapes(read_spec(model), size, batch)


def test_a_model_of_fixed_size_has_that_one(tmp_path):
    spec = read_spec(tiny_model.write_model(tmp_path / "fixed.onnx", size=(96, 64)))
    assert choose_shapes(spec, None, None).fixed_size == (96, 64)
    with pytest.raises(ModelError, match="takes frames of 96x64 only"):
        choose_shapes(spec, "64x32", None)


@given(st.tuples(st.integers(1, 6), st.integers(1, 200), st.integers(1, 200)))
def test_holds_what_lies_between(shape):
    count, height, width = shape
    inside = 1 <= count <= 4 and 32 <= height <= 64 and 64 <= width <= 128
    assert SHAPES.holds((*shape, 3)) == inside


# ---- progress, layers, messages


def test_progress_goes_on_and_tells_the_remaining_time():
    now = [0.0]
    lines: list[str] = []
    progress = BuildProgress(lines.append, clock=lambda: now[0])
    progress.phase_start("Building", None, 4)
    seen = []
    for step in range(4):
        progress.phase_start("Inner", "Building", 2)
        for inner in range(2):
            now[0] += 1.0
            assert progress.step_complete("Inner", inner)
            seen.append(progress.share())
        progress.phase_finish("Inner")
        assert progress.step_complete("Building", step)
        seen.append(progress.share())
    progress.phase_finish("Building")
    assert seen == sorted(seen)
    assert seen[:3] == [0.125, 0.25, 0.25]
    assert progress.share() == 1.0
    assert "compiling: 50%, about 4 s left: building" in lines
    assert progress.remaining_s() == 0.0
    assert not any("left" in line for line in lines if line.startswith("compiling: 12%"))


@given(st.lists(st.tuples(st.sampled_from(["a", "b", "c"]), st.integers(0, 9), st.booleans()), max_size=30))
def test_progress_survives_any_order_of_phases(events):
    progress = BuildProgress()
    progress.phase_start("a", None, 0)
    before = 0.0
    for name, number, starts in events:
        if starts:
            progress.phase_start(name, "a", number)
        else:
            progress.step_complete(name, number)
        assert before <= progress.share() <= 1.0
        before = progress.share()
    progress.phase_finish("c")


def test_layers_are_read_from_the_log():
    text = """Layers:
Name: conv_0, LayerType: correlation, Inputs: [ { Name: x, Dimensions: [1,3,4,4], Datatype: Half }], Outputs: [ \
{ Name: y, Dimensions: [1,8,4,4], Strides: [1], Datatype: Half, Format: (x) }], TacticName: t, StreamId: 0, \
Metadata: [ONNX Layer: first][ONNX Layer: second]
Name: s, LayerType: signal, Inputs: [], Constants: [], Outputs: [], TacticName: , StreamId: 0, Metadata: """
    layers = read_layers([text])
    assert layers[0] == Layer("conv_0", "correlation", ("Half [1,8,4,4]",), ("first", "second"))
    assert summarise(layers) == {
        "kernels": 1,
        "by_kind": {"correlation": 1},
        "by_output_type": {"Half": 1},
        "topk": 0,
    }


@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        ([], "it gave no reason"),
        (["[checkMacros.cpp::catchCudaError::250] Error Code 1: Cuda Runtime (no driver)"], "it gave no reason"),
        (
            ["Invalid Node - a\nIBuilder::x: Error Code 4: API Usage Error (a: wrong. In f at /_src/a.cpp:4)"],
            "a: wrong",
        ),
        (["  plain words.  "], "plain words"),
    ],
)
def test_one_plain_reason(messages, reason):
    assert plain_reason(messages) == reason


def test_unsigned_quantisation_says_what_is_wanted(library, tmp_path):
    scale, zero = numpy_helper.from_array(np.float32(1.0), "scale"), numpy_helper.from_array(np.uint8(3), "zero")
    nodes = [
        helper.make_node("Cast", ["frame"], ["x"], to=TensorProto.FLOAT),
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"], name="quantise"),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["y"], name="dequantise"),
        helper.make_node("ReduceMax", ["y"], ["z"], axes=[3], keepdims=0),
        helper.make_node("Cast", ["z"], ["labels"], to=TensorProto.UINT8),
    ]
    with pytest.raises(ModelError, match=r"int8 only signed, with zero point 0.*--int8-for tensorrt"):
        build_plan(library, _save(tmp_path / "q.onnx", nodes, [scale, zero]), Recipe("sm89", SHAPES))
