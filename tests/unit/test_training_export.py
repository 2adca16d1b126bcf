"""Exported graphs against the Keras models they came from, through ONNX Runtime."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

keras = pytest.importorskip("keras", reason="training needs Keras and a backend")
onnx = pytest.importorskip("onnx", reason="export needs ONNX")
ort = pytest.importorskip("onnxruntime")

from onnx import TensorProto, helper  # noqa: E402

from perception.engines.contract import read_spec  # noqa: E402
from perception.engines.open import open_engine  # noqa: E402
from perception.errors import ConfigError, ModelError, OutputError  # noqa: E402
from training.answers import engine_answer, keras_answer  # noqa: E402
from training.card import ModelCard, write_card  # noqa: E402
from training.export import export_onnx, replace_card  # noqa: E402
from training.keras_to_onnx import add_keras_model  # noqa: E402
from training.models.blocks import CropLike, SavedDropout, up_score  # noqa: E402
from training.models.light_unet import LightUNetWidths, light_unet  # noqa: E402
from training.models.unpooling import MaxPoolWithPlace, MaxUnpool  # noqa: E402
from training.onnx_graph import OPSET, OnnxGraph  # noqa: E402
from training.parity import compare  # noqa: E402

layers = keras.layers
CARD = ModelCard("test", 128 * 64, facts={"data": "noise", "licence": "none"})


def randomise(model: Any, seed: int = 0) -> Any:
    """Weights as after a training: kernels as they are, everything else shaken."""
    random = np.random.default_rng(seed)
    for variable in model.variables:
        low, high = {"moving_variance": (0.5, 2.0), "gamma": (0.5, 1.5)}.get(variable.name, (-0.3, 0.3))
        if variable.name != "kernel":
            variable.assign(random.uniform(low, high, variable.shape).astype(np.float32))
    return model


def run_keras(model: Any, frames: np.ndarray) -> np.ndarray:
    return np.asarray(keras.ops.convert_to_numpy(model(frames, training=False)), np.float32)


def run_graph(model: Any, frames: np.ndarray) -> np.ndarray:
    """The graph alone, in full precision, NHWC in and out."""
    graph = OnnxGraph()
    frame = graph.add("Cast", [graph.add("Transpose", ["frame"], perm=[0, 3, 1, 2])], to=TensorProto.FLOAT)
    (out,) = add_keras_model(graph, model, frame)
    graph.add("Transpose", [out], "out", perm=[0, 2, 3, 1])
    proto = helper.make_graph(
        graph.nodes,
        "g",
        [helper.make_tensor_value_info("frame", TensorProto.UINT8, ["N", "H", "W", 3])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, ["N", "h", "w", "c"])],
        graph.weights,
    )
    whole = helper.make_model(proto, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
    onnx.checker.check_model(whole, full_check=True)
    session = ort.InferenceSession(whole.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"frame": frames})[0])


def frames_of(height: int, width: int, count: int = 1) -> np.ndarray:
    return np.random.default_rng(height * width).integers(0, 256, (count, height, width, 3), np.uint8)


def structured_frames(height: int, width: int) -> np.ndarray:
    """Two frames of smooth patches, mirror images of each other."""
    image = cv2.resize(frames_of(8, 8)[0], (width, height), interpolation=cv2.INTER_CUBIC)
    return np.stack([image, image[:, ::-1]])


def conv_bn(x: Any) -> Any:
    return layers.BatchNormalization()(layers.Conv2D(5, 3, padding="same", use_bias=False)(x))


def two_readers(x: Any) -> Any:
    """The convolution is read by its normalisation and by an addition: nothing may be folded."""
    c = layers.Conv2D(4, 3, padding="same")(x)
    return layers.Add()([layers.BatchNormalization()(c), c])


LAYERS: dict[str, Callable[[Any], Any]] = {
    "rescaling": lambda x: layers.Rescaling(1 / 128, -1.0)(x),
    "rescaling by channel": lambda x: layers.Rescaling([0.1, 0.2, 0.3], [1.0, 2.0, 3.0])(x),
    "convolution": layers.Conv2D(4, 3, padding="same"),
    "convolution 5x3": layers.Conv2D(4, (5, 3), padding="same"),
    "strided": layers.Conv2D(4, 3, 2, padding="same"),
    "strided 5x5": layers.Conv2D(4, 5, 2, padding="same"),
    "valid": layers.Conv2D(4, 3, padding="valid"),
    "dilated": layers.Conv2D(4, 3, padding="same", dilation_rate=3),
    "grouped": layers.Conv2D(6, 3, padding="same", groups=3),
    "convolution with relu": layers.Conv2D(4, 1, activation="relu"),
    "depthwise": layers.DepthwiseConv2D(3, padding="same"),
    "depthwise strided, two each": layers.DepthwiseConv2D(5, 2, padding="same", depth_multiplier=2),
    "folded normalisation": conv_bn,
    "relu before normalisation": lambda x: layers.BatchNormalization()(layers.Conv2D(4, 1, activation="relu")(x)),
    "normalisation alone": layers.BatchNormalization(),
    "normalisation without scale": lambda x: layers.BatchNormalization(scale=False)(layers.Conv2D(4, 1)(x)),
    "normalisation without shift": layers.BatchNormalization(center=False),
    "two readers": two_readers,
    "relu": lambda x: layers.ReLU()(layers.Conv2D(4, 1)(x)),
    "relu6": lambda x: layers.ReLU(6.0)(x),
    "addition of three": lambda x: layers.Add()([x, layers.Conv2D(3, 1)(x), x]),
    "concatenation": lambda x: layers.Concatenate()([x, layers.Conv2D(4, 1)(x)]),
    "nearest": layers.UpSampling2D(2),
    "bilinear": layers.UpSampling2D(2, interpolation="bilinear"),
    "average pool": layers.AveragePooling2D(5, 1, padding="same"),
    "average pool by two": layers.AveragePooling2D(2),
    "max pool": layers.MaxPooling2D(2),
    "max pool 3x3": layers.MaxPooling2D(3, 1, padding="same"),
    "transposed": layers.Conv2DTranspose(4, 2, 2),
    "transposed, bilinear's size": layers.Conv2DTranspose(4, 8, 4, padding="same", use_bias=False),
    "transposed, odd, with relu": layers.Conv2DTranspose(4, 3, 2, padding="same", activation="relu"),
    "cropping": layers.Cropping2D(((1, 2), (0, 3))),
    "dropout": lambda x: SavedDropout(0.5)(layers.Dropout(0.5)(x)),
    "crop of an even size": lambda x: CropLike()([x, x]),
    "pooling and unpooling": lambda x: MaxUnpool()(list(MaxPoolWithPlace()(layers.ReLU()(x)))),
    "global average": lambda x: layers.Add()([x, layers.GlobalAveragePooling2D(keepdims=True)(x)]),
}


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_is_translated_exactly_at_any_size(name: str) -> None:
    frame = keras.Input((None, None, 3), dtype="uint8")
    x = layers.Rescaling(1 / 64, offset=-2.0)(frame)
    model = randomise(keras.Model(frame, LAYERS[name](x)))
    for size in ((16, 24), (32, 16)):
        frames = frames_of(*size, count=2)
        assert run_graph(model, frames) == pytest.approx(run_keras(model, frames), abs=2e-4)


def used_twice(x: Any) -> Any:
    layer = layers.Conv2D(3, 1, name="shared")
    return layer(layer(x))


REFUSED: dict[str, Callable[[Any], Any]] = {
    "Softmax": layers.Softmax(),
    "tanh": layers.Conv2D(4, 1, activation="tanh"),
    "axis 1": lambda x: layers.Concatenate(axis=1)([x, x]),
    "bicubic": layers.UpSampling2D(2, interpolation="bicubic"),
    "stride 3": layers.Conv2D(4, 3, 3, padding="same"),
    "beyond the kernel": layers.Conv2DTranspose(4, 2, 3, padding="same"),
    "output padding": layers.Conv2DTranspose(4, 3, 2, padding="same", output_padding=1),
    "slope": layers.ReLU(negative_slope=0.1),
    "more than once": used_twice,
    "keepdims": layers.GlobalAveragePooling2D(),
    "Add": lambda x: x + 1.0,  # an operation of the same name as a layer
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_has_no_translation_is_refused_by_name(what: str) -> None:
    frame = keras.Input((16, 16, 3), dtype="uint8")
    model = keras.Model(frame, REFUSED[what](layers.Rescaling(1.0)(frame)))
    with pytest.raises(ModelError, match=what) as caught:
        run_graph(model, frames_of(16, 16))
    assert "Layer" in str(caught.value)


def test_a_model_of_two_inputs_is_refused() -> None:
    inputs = [keras.Input((8, 8, 3)), keras.Input((8, 8, 3))]
    with pytest.raises(ModelError, match="2 inputs"):
        add_keras_model(OnnxGraph(), keras.Model(inputs, layers.Add()(inputs)), "frame")


def test_a_part_of_a_larger_model_is_not_given_the_larger_model_s_normalisation() -> None:
    frame = keras.Input((16, 16, 3), dtype="uint8")
    convolved = layers.Conv2D(4, 3, padding="same")(layers.Rescaling(1 / 64)(frame))
    randomise(keras.Model(frame, layers.BatchNormalization()(convolved)))
    part = keras.Model(frame, convolved)
    assert run_graph(part, frames_of(16, 16)) == pytest.approx(run_keras(part, frames_of(16, 16)), abs=1e-4)


@pytest.fixture(scope="module")
def model() -> Any:
    """The light U-Net, narrow, with weights that spread its answers over the classes.

    Its kernels are the same in whatever order the tests run: how many answers are nearly ties depends on them.
    """
    keras.utils.set_random_seed(3)
    model = randomise(light_unet(LightUNetWidths(16, (16, 16, 8, 8))), seed=3)
    head = model.get_layer("logits")
    kernel, bias = head.get_weights()
    logits = run_keras(model, structured_frames(128, 64))
    gain, mean = 3 / logits.std(axis=(0, 1, 2)), logits.mean(axis=(0, 1, 2))
    head.set_weights([kernel * gain, (bias - mean) * gain])
    return model


@pytest.fixture(scope="module", params=[1, 2])
def exported(request: pytest.FixtureRequest, model: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    path = tmp_path_factory.mktemp("export") / f"stride{request.param}.onnx"
    export_onnx(model, path, CARD, label_stride=request.param)
    return path, request.param


@pytest.fixture
def engine(exported: tuple[Path, int]) -> Iterator[Any]:
    engine = open_engine("onnxruntime", exported[0], mode="latency", threads=1)
    yield engine
    engine.close()


def test_the_whole_network_translates_exactly(model: Any) -> None:
    frames = frames_of(64, 96)
    expected = run_keras(model, frames)
    assert run_graph(model, frames) == pytest.approx(expected, abs=1e-3 * float(np.abs(expected).max()))


@pytest.mark.parametrize("size", [(64, 96), (128, 64), (32, 32)])
def test_labels_and_confidence_are_those_of_the_logits(
    model: Any, exported: tuple[Path, int], engine: Any, size: tuple[int, int]
) -> None:
    height, width = size
    frames = structured_frames(height, width)
    outputs = engine.submit(frames).result()
    logits = run_keras(model, frames)
    if exported[1] == 1:
        logits = np.stack([cv2.resize(one, (width, height), interpolation=cv2.INTER_LINEAR) for one in logits])
    assert outputs["labels"].shape == logits.shape[:3]
    assert len(np.unique(logits.argmax(axis=-1))) > 2  # or agreement would mean nothing
    best = logits.max(axis=-1, keepdims=True)
    two_best = np.sort(logits, axis=-1)[..., -2:]
    clear = two_best[..., 1] - two_best[..., 0] > 0.05 * np.abs(logits).max()  # weights are stored in f16
    agree = outputs["labels"] == logits.argmax(axis=-1)
    assert agree[clear].all()
    assert agree.mean() >= 0.98
    confidence = 255 / np.exp(logits - best).sum(axis=-1)
    assert np.abs(outputs["confidence"] - confidence).mean() < 1.5


def head_model() -> Any:
    """Logits that are the frame itself, three channels spread over the classes: every value is exact in f16."""
    frame = keras.Input((None, None, 3), dtype="uint8", name="frame")
    x = layers.Rescaling(1 / 32, offset=-3.0)(frame)
    x = layers.AveragePooling2D(2)(x)
    head = layers.Conv2D(19, 1, name="logits")
    model = keras.Model(frame, head(x))
    kernel = np.round(np.random.default_rng(0).normal(0, 1, (1, 1, 3, 19)) * 8) / 8
    head.set_weights([kernel.astype(np.float32), np.zeros(19, np.float32)])
    return model


@pytest.mark.parametrize("stride", [1, 2])
def test_the_head_equals_bilinear_up_sampling_argmax_and_softmax(tmp_path: Path, stride: int) -> None:
    model = head_model()
    export_onnx(model, tmp_path / "m.onnx", CARD, label_stride=stride)
    session = ort.InferenceSession(tmp_path / "m.onnx", providers=["CPUExecutionProvider"])
    frames = frames_of(64, 96, count=2)
    labels, confidence = session.run(["labels", "confidence"], {"frame": frames})
    logits = run_keras(model, frames)
    if stride == 1:
        logits = np.stack([cv2.resize(one, (96, 64), interpolation=cv2.INTER_LINEAR) for one in logits])
    exact = 255 / np.exp((logits - logits.max(axis=-1, keepdims=True)).astype(np.float64)).sum(axis=-1)
    assert (labels == logits.argmax(axis=-1)).mean() >= 0.999
    assert np.abs(confidence - exact).max() <= 0.51  # rounded to the nearest 1/255


def test_parity_says_how_far_they_agree(model: Any, engine: Any) -> None:
    image, mirrored = structured_frames(64, 128)
    result = compare(keras_answer(model), engine_answer(engine), [image, mirrored], engine.spec.network_size)
    assert result.frames == 2
    assert 0.98 <= result.worst_frame <= result.label_agreement <= 1
    other = randomise(light_unet(LightUNetWidths(16, (16, 16, 8, 8))), seed=4)
    assert compare(keras_answer(other), engine_answer(engine), [image], engine.spec.network_size).label_agreement < 0.9


def test_the_node_reads_the_card_that_was_written(exported: tuple[Path, int]) -> None:
    spec = read_spec(exported[0])
    assert (spec.id, spec.pixels, spec.multiple, spec.precision) == ("test", 128 * 64, 32, "fp32")
    assert spec.classes == CARD.classes
    assert spec.outputs == ("labels", "confidence")
    assert spec.fixed_size is None
    assert json.loads(spec.card["roadcast.card"]) == CARD.facts


def test_weights_take_two_bytes(model: Any, exported: tuple[Path, int]) -> None:
    assert exported[0].stat().st_size < 2 * model.count_params() * 1.05 + 100_000


def test_the_card_beside_the_file_names_its_hash(exported: tuple[Path, int], tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(exported[0].read_bytes())
    before = onnx.load(path).graph
    card = ModelCard("scored", 128 * 64, facts={"scores": {"camvid:val": {"mean_iou": 0.5}}})
    replace_card(path, card)
    content = json.loads(write_card(card, path).read_text())
    assert content["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest() == read_spec(path).sha256
    assert content["bytes"] == path.stat().st_size
    assert content["scores"]["camvid:val"]["mean_iou"] == 0.5
    assert read_spec(path).id == "scored"
    assert onnx.load(path).graph == before


@pytest.mark.parametrize("wrong", [{"id": " ", "pixels": 9999}, {"id": "x", "pixels": 1000}, {"id": "x", "pixels": -5}])
def test_a_card_that_no_node_could_use_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        ModelCard(**wrong)


def test_a_file_that_cannot_be_written_leaves_nothing(model: Any, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="Cannot write"):
        export_onnx(model, tmp_path / "missing" / "m.onnx", CARD, label_stride=2)
    (tmp_path / "m.onnx").mkdir()
    with pytest.raises(OutputError, match="Cannot write"):
        export_onnx(model, tmp_path / "m.onnx", CARD, label_stride=2)
    assert [path.name for path in tmp_path.iterdir()] == ["m.onnx"]


@pytest.mark.parametrize("stride", [0, 3, 16])
def test_an_impossible_stride_is_refused(model: Any, tmp_path: Path, stride: int) -> None:
    with pytest.raises(ModelError, match=f"one of 1, 2, 4, 8 for logits at stride 2, got {stride}"):
        export_onnx(model, tmp_path / "m.onnx", CARD, label_stride=stride)


def test_maps_more_than_twice_as_fine_as_the_logits_are_refused(tmp_path: Path) -> None:
    frame = keras.Input((None, None, 3), dtype="uint8", name="frame")
    coarse = layers.AveragePooling2D(2)(layers.AveragePooling2D(2)(layers.Rescaling(1.0)(frame)))
    with pytest.raises(ModelError, match="one of 2, 4, 8 for logits at stride 4, got 1"):
        export_onnx(keras.Model(frame, coarse), tmp_path / "m.onnx", CARD, label_stride=1)


@pytest.mark.parametrize("label_stride", [1, 2, 4, 8])
@pytest.mark.parametrize("end", ["transposed", "convolution"])
def test_coarse_labels_are_those_of_the_mean_logits(tmp_path: Path, end: str, label_stride: int) -> None:
    """Of a full-size network; a transposed convolution at its end is made smaller instead, where it can be."""
    frame = keras.Input((None, None, 3), dtype="uint8", name="frame")
    x = layers.Rescaling(1 / 32, offset=-3.0)(frame)
    if end == "transposed":
        x = layers.Conv2D(19, 1)(layers.AveragePooling2D(2)(layers.AveragePooling2D(2)(layers.AveragePooling2D(2)(x))))
        x = up_score(x, 8, "logits")
    else:
        x = layers.Conv2D(19, 1, name="logits")(x)
    model = keras.Model(frame, x)
    path = tmp_path / "m.onnx"
    export_onnx(model, path, CARD, label_stride=label_stride)
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    frames = structured_frames(64, 96)
    labels, confidence = session.run(["labels", "confidence"], {"frame": frames})
    logits = run_keras(model, frames)
    blocks = logits.reshape(2, 64 // label_stride, label_stride, 96 // label_stride, label_stride, 19)
    means = blocks.mean(axis=(2, 4))
    assert labels.shape == means.shape[:3]
    assert (labels == means.argmax(axis=-1)).mean() >= 0.99  # weights are stored in f16
    exact = 255 / np.exp(means - means.max(axis=-1, keepdims=True)).sum(axis=-1)
    assert np.abs(confidence - exact).mean() < 1
    pools = [node.op_type for node in onnx.load(path).graph.node].count("AveragePool")
    if end == "transposed":
        assert pools == (3 if label_stride < 8 else 4)  # the model's own three
    else:
        assert pools == (0 if label_stride == 1 else 1)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e6])
def test_weights_that_no_half_holds_are_refused(tmp_path: Path, value: float) -> None:
    frame = keras.Input((None, None, 3), dtype="uint8", name="frame")
    wide = layers.Conv2D(19, 3, padding="same", name="wide")
    model = keras.Model(frame, wide(layers.Rescaling(1.0)(frame)))
    kernel, bias = wide.get_weights()
    kernel[0, 0, 0, 0] = value
    wide.set_weights([kernel, bias])
    with pytest.raises(ModelError, match="diverged"):
        export_onnx(model, tmp_path / "m.onnx", CARD, label_stride=2)
    assert not list(tmp_path.iterdir())
