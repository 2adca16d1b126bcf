"""Foreign models become ours: every form of input and output, against the same network computed by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="wrapping needs ONNX")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from perception.engines.open import open_engine  # noqa: E402
from perception.errors import ConfigError, ModelError  # noqa: E402
from training.card import ModelCard  # noqa: E402
from training.class_table import CITYSCAPES_CHANNELS, Channels, read_channels  # noqa: E402
from training.cli import main  # noqa: E402
from training.wrap import ForeignModel, fixed_size, read_foreign, wrap  # noqa: E402

CLASSES = 4
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
KERNEL = np.random.default_rng(0).normal(0, 1, (CLASSES, 3)).astype(np.float32)
TABLE = """
[[class]]
name = "road"
[[class]]
name = "car"
id = 13
[[class]]
name = "tractor"
color = [200, 120, 0]
thing = true
id = 19
[[class]]
name = "nothing"
id = 255
"""


def foreign_file(
    path: Path,
    *,
    layout: str = "nchw",
    end: str = "logits",
    dtype: int = TensorProto.FLOAT,
    size: tuple[int, int] | None = None,
    opset: int = 17,
) -> Path:
    """A 1x1 convolution over three channels, by another hand: ``end`` is what it gives."""
    height, width = size or ("h", "w")
    x_shape = ["n", 3, height, width] if layout == "nchw" else ["n", height, width, 3]
    kernel = KERNEL.astype(helper.tensor_dtype_to_np_dtype(dtype))
    nodes, name = [], "x"
    if layout == "nhwc":
        nodes.append(helper.make_node("Transpose", [name], ["turned"], perm=[0, 3, 1, 2]))
        name = "turned"
    nodes.append(helper.make_node("Conv", [name, "kernel"], ["scores"], kernel_shape=[1, 1]))
    y, y_type, y_shape = "scores", dtype, ["n", CLASSES, height, width]
    if end == "probabilities":
        nodes.append(helper.make_node("Softmax", [y], ["y"], axis=1))
        y = "y"
    elif end == "labels":
        nodes.append(helper.make_node("ArgMax", [y], ["y"], axis=1, keepdims=1))
        y, y_type, y_shape = "y", TensorProto.INT64, ["n", 1, height, width]
    elif layout == "nhwc":
        nodes.append(helper.make_node("Transpose", [y], ["y"], perm=[0, 2, 3, 1]))
        y, y_shape = "y", ["n", height, width, CLASSES]
    graph = helper.make_graph(
        nodes,
        "foreign",
        [helper.make_tensor_value_info("x", dtype, x_shape)],
        [helper.make_tensor_value_info(y, y_type, y_shape)],
        [numpy_helper.from_array(kernel[:, :, None, None], "kernel")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8), path)
    return path


def expected(frames: np.ndarray, foreign: ForeignModel, ids: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    x = frames[..., ::-1] if foreign.order == "rgb" else frames
    x = (x / foreign.scale - np.array(foreign.mean)) / np.array(foreign.std)
    logits = x @ KERNEL.T.astype(np.float64)
    likely = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    return np.array(ids, np.uint8)[logits.argmax(axis=-1)], 255 * likely.max(axis=-1)


@pytest.fixture
def channels(tmp_path: Path) -> Channels:
    (tmp_path / "table.toml").write_text(TABLE)
    return read_channels(tmp_path / "table.toml")


@pytest.mark.parametrize(
    ("form", "told"),
    [
        ({}, {"mean": MEAN, "std": STD}),
        ({"end": "probabilities"}, {"mean": MEAN, "std": STD}),
        ({"layout": "nhwc"}, {"order": "bgr"}),
        ({"end": "labels"}, {"mean": (120.0, 110.0, 100.0), "scale": 1.0, "std": (60.0, 60.0, 60.0)}),
        ({"dtype": TensorProto.FLOAT16}, {"std": (0.5, 0.5, 0.5)}),
        ({"size": (32, 64)}, {}),
        ({"opset": 11}, {}),
        ({"opset": 21}, {"mean": MEAN}),
    ],
    ids=str,
)
def test_a_wrapped_model_answers_as_its_own_framework_would(
    tmp_path: Path, channels: Channels, form: dict[str, Any], told: dict[str, Any]
) -> None:
    foreign = ForeignModel(**told)
    model = read_foreign(foreign_file(tmp_path / "foreign.onnx", **form))
    size = (64, 32) if "size" in form else None
    assert fixed_size(model, foreign) == size
    card = ModelCard("wrapped", 64 * 32, classes=channels.table)
    (tmp_path / "ours.onnx").write_bytes(wrap(model, foreign, channels, card).SerializeToString())
    frames = np.random.default_rng(1).integers(0, 256, (1, 32, 64, 3), np.uint8)
    engine = open_engine("onnxruntime", tmp_path / "ours.onnx", mode="latency", threads=1)
    outputs = engine.submit(frames).result()
    engine.close()
    assert engine.spec.fixed_size == size
    assert [row.name for row in engine.spec.classes.rows] == ["road", "car", "tractor"]
    labels, confidence = expected(frames, foreign, channels.ids)
    assert (outputs["labels"] == labels).mean() >= (0.99 if "dtype" in form else 1.0)
    assert len(np.unique(outputs["labels"])) > 1
    if form.get("end") == "labels":
        assert "confidence" not in outputs
    else:
        assert np.abs(outputs["confidence"] - confidence).max() <= (2 if "dtype" in form else 0.51)


def test_scores_can_be_enlarged_before_the_argmax(tmp_path: Path, channels: Channels) -> None:
    model = read_foreign(foreign_file(tmp_path / "foreign.onnx"))
    proto = wrap(model, ForeignModel(upsample=2), channels, ModelCard("x", 64 * 32, classes=channels.table))
    session = pytest.importorskip("onnxruntime").InferenceSession(proto.SerializeToString())
    labels, _ = session.run(None, {"frame": np.zeros((1, 32, 64, 3), np.uint8)})
    assert labels.shape == (1, 64, 128)


def test_what_does_not_fit_is_one_sentence(tmp_path: Path, channels: Channels) -> None:
    model = read_foreign(foreign_file(tmp_path / "foreign.onnx"))
    card = ModelCard("x", 64 * 32)
    with pytest.raises(ModelError, match="none of which is the 19 classes"):
        wrap(model, ForeignModel(), CITYSCAPES_CHANNELS, card)
    with pytest.raises(ModelError, match="no output 'aux'; it has scores"):
        wrap(model, ForeignModel(output="aux"), channels, card)
    with pytest.raises(ConfigError, match="std and scale must be positive"):
        ForeignModel(std=(0.0, 1.0, 1.0))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no classes"),
        ('[[class]]\nnane = "road"\n', "no key 'nane'. Did you mean 'name'"),
        ('[[class]]\nname = "tractor"\n', "'tractor' needs a color"),
        ('[[class]]\nname = "road"\n[[class]]\nname = "car"\nid = 0\n', "'road' and 'car' have the id 0"),
        ('[[class]]\nname = "road"\nid = 300\n', "from 0 to 255"),
    ],
)
def test_a_class_table_that_is_wrong_is_one_sentence(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "table.toml").write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_channels(tmp_path / "table.toml")


def test_the_command_writes_a_model_and_its_card(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "table.toml").write_text(TABLE)
    model, out = foreign_file(tmp_path / "foreign.onnx"), tmp_path / "out.onnx"
    words = [
        "wrap",
        str(model),
        "-o",
        str(out),
        "--mean",
        "0.4",
        "0.4",
        "0.4",
        "--classes",
        str(tmp_path / "table.toml"),
    ]
    assert main(words) == 0
    assert "labels of 512x288" in capsys.readouterr().out
    assert out.with_suffix(".json").exists()
    (tmp_path / "text.onnx").write_text("no model")
    for wrong, message in (("text.onnx", "not a readable ONNX model"), ("none.onnx", "There is no model")):
        assert main(["wrap", str(tmp_path / wrong), "-o", str(tmp_path / "no.onnx")]) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1
    assert not (tmp_path / "no.onnx").exists()
