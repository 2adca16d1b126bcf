"""fp16 and int8 files, fixed sizes, and labels of a model's own making."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

keras = pytest.importorskip("keras", reason="export needs Keras")
onnx = pytest.importorskip("onnx", reason="export needs ONNX")

from perception.engines.contract import read_spec  # noqa: E402
from perception.engines.open import open_engine  # noqa: E402
from perception.errors import ConfigError, EngineUnavailable, RoadcastError  # noqa: E402
from perception.types import VOID, CaptureTime, Frame  # noqa: E402
from training.answers import engine_answer, keras_answer  # noqa: E402
from training.card import ModelCard  # noqa: E402
from training.data.datasets import open_dataset, read_pair  # noqa: E402
from training.export import export_onnx  # noqa: E402
from training.parity import compare  # noqa: E402
from training.pseudo_labels import city_of, label_frames  # noqa: E402


def network(gain: float = 1.0) -> Any:
    """Three convolutions at half size; the middle one's answers are ``gain`` times too large, the last undoes it."""
    keras.utils.set_random_seed(3)
    frame = keras.Input((None, None, 3), dtype="uint8", name="frame")
    x = keras.layers.Rescaling(1 / 128, offset=-1.0, name="normalise")(frame)
    x = keras.layers.Conv2D(8, 3, 2, padding="same", activation="relu", name="first")(x)
    x = keras.layers.Conv2D(16, 3, padding="same", activation="relu", name="middle")(x)
    x = keras.layers.Conv2D(16, 1, activation="relu", name="next")(x)
    model = keras.Model(frame, keras.layers.Conv2D(19, 1, name="logits")(x))
    kernel, bias = model.get_layer("middle").get_weights()
    model.get_layer("middle").set_weights([kernel * gain, bias])
    kernel, bias = model.get_layer("next").get_weights()
    model.get_layer("next").set_weights([kernel / gain, bias])
    return model


def frames(count: int = 3) -> list[np.ndarray]:
    noise = np.random.default_rng(0).integers(0, 256, (count, 8, 16, 3), np.uint8)
    return [cv2.resize(one, (64, 32), interpolation=cv2.INTER_CUBIC)[None] for one in noise]


def written(path: Path, model: Any, precision: str, **options: Any) -> list[str]:
    card = ModelCard("tiny", 64 * 32, precision=precision)
    return export_onnx(model, path, card, label_stride=2, calibration=frames(), **options)


@pytest.mark.parametrize(("precision", "least"), [("fp32", 0.999), ("fp16", 0.995), ("int8", 0.9)])
def test_every_precision_labels_as_the_model_does(tmp_path: Path, precision: str, least: float) -> None:
    model, path = network(), tmp_path / "m.onnx"
    assert written(path, model, precision) == []
    assert read_spec(path).precision == precision
    engine = open_engine("onnxruntime", path, mode="latency", threads=1)
    images = [frame[0] for frame in frames()]
    found = compare(keras_answer(model), engine_answer(engine), images, engine.spec.network_size)
    engine.close()
    assert found.label_agreement >= least
    types = {tensor.data_type for tensor in onnx.load(path).graph.initializer}
    if precision == "int8":
        assert onnx.TensorProto.INT8 in types
        proto = onnx.load(path)
        made = {name: node.op_type for node in proto.graph.node for name in node.output}
        weights = [made.get(node.input[1], "") for node in proto.graph.node if node.op_type == "Conv"]
        assert weights == ["", "DequantizeLinear", "DequantizeLinear", ""]  # the first and the last stay f32


def test_symmetric_int8_is_what_tensorrt_takes(tmp_path: Path) -> None:
    model, path = network(), tmp_path / "m.onnx"
    written(path, model, "int8", symmetric=True)
    proto = onnx.load(path)
    values = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}
    made = {name: node.op_type for node in proto.graph.node for name in node.output}
    pairs = [node for node in proto.graph.node if node.op_type in ("QuantizeLinear", "DequantizeLinear")]
    assert len(pairs) >= 4
    zeros = [values[node.input[2]] for node in pairs]
    assert {zero.dtype for zero in zeros} == {np.dtype(np.int8)}
    assert all((zero == 0).all() for zero in zeros)
    convolutions = [node for node in proto.graph.node if node.op_type == "Conv"]
    assert [made.get(node.input[1], "") for node in convolutions] == ["", "DequantizeLinear", "DequantizeLinear", ""]
    assert not any(made.get(node.input[2], "") == "DequantizeLinear" for node in convolutions)
    with closing(open_engine("onnxruntime", path, mode="latency", threads=1)) as engine:
        images = [frame[0] for frame in frames()]
        found = compare(keras_answer(model), engine_answer(engine), images, engine.spec.network_size)
    assert found.label_agreement >= 0.9


@pytest.mark.timeout(600)
def test_tensorrt_compiles_symmetric_int8(tmp_path: Path) -> None:
    from perception.engines.tensorrt.build import Recipe, build_plan
    from perception.engines.tensorrt.library import load_library
    from perception.engines.tensorrt.shapes import Shapes

    try:
        library = load_library("tensorrt_rtx")
    except EngineUnavailable as error:
        pytest.skip(f"TensorRT for RTX is not here: {error}")
    written(tmp_path / "m.onnx", network(), "int8", symmetric=True)
    shapes = Shapes((1, 1, 2), ((64, 32), (64, 32), (64, 32)))
    built = build_plan(library, tmp_path / "m.onnx", Recipe("sm89", shapes))
    assert len(built.plan) > 10_000
    written(tmp_path / "m.onnx", network(), "int8")
    with pytest.raises(RoadcastError):  # why there are two forms
        build_plan(library, tmp_path / "m.onnx", Recipe("sm89", shapes))


def test_what_overflows_a_half_stays_f32(tmp_path: Path) -> None:
    model, path = network(gain=1e6), tmp_path / "m.onnx"
    kept = written(path, model, "fp16")
    assert any("middle" in name for name in kept)
    assert not any("first" in name or "logits" in name for name in kept)
    engine = open_engine("onnxruntime", path, mode="latency", threads=1)
    images = [frame[0] for frame in frames()]
    assert compare(keras_answer(model), engine_answer(engine), images, engine.spec.network_size).label_agreement > 0.99
    engine.close()


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_a_file_of_one_size_says_so(tmp_path: Path, precision: str) -> None:
    path = tmp_path / "m.onnx"
    written(path, network(), precision, size=(64, 32))
    assert read_spec(path).fixed_size == (64, 32)
    engine = open_engine("onnxruntime", path, mode="latency", threads=1)
    assert engine.submit(frames()[0]).result()["labels"].shape == (1, 16, 32)
    engine.close()


def test_pseudo_labels_are_a_data_set_of_what_the_model_is_sure_of(tmp_path: Path) -> None:
    labels = np.full((16, 32), 13, np.uint8)
    sure = np.zeros((16, 32), np.float32)
    sure[:, :16] = 1
    video = [Frame("front", number, CaptureTime(0, 0), frame[0]) for number, frame in enumerate(frames())]

    def write() -> Any:
        how: dict[str, Any] = {"city": city_of("my drive-1.mp4"), "split": "train", "least": 0.9}
        return list(label_frames(video, lambda _f, _s: (labels, sure), lambda size: size, tmp_path, **how))

    written = write()
    assert [one.frame for one in written] == [0, 1, 2]
    assert all(0.4 < one.sure < 0.6 for one in written)
    pairs = open_dataset(f"cityscapes:{tmp_path}")
    assert pairs[0].image.parent.name == "mydrive1"
    image, values = read_pair(pairs[0])
    assert (image == video[0].image).all()
    assert set(np.unique(values[:, :28])) == {13}
    assert set(np.unique(values[:, 36:])) == {VOID}
    with pytest.raises(ConfigError, match="holds frames already"):
        write()
