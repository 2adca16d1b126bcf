"""Model files, good and bad: what they say of themselves, and how each engine meets those that break the contract."""

from __future__ import annotations

import zipfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import tiny_model
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto

from perception.classes import CITYSCAPES
from perception.engines import contract
from perception.engines.contract import read_spec
from perception.engines.onnx_file import read_header
from perception.engines.open import open_engine
from perception.engines.shipped import model_file
from perception.errors import EngineError, ModelError, ShapeError

ENGINES = ["onnxruntime", "openvino", "auto"]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return tiny_model.write_model(tmp_path / "tiny.onnx")


def test_the_model_card_is_read(tmp_path: Path) -> None:
    classes = '[{"id": 3, "name": "cow", "color": [1, 2, 3], "is_thing": true}]'
    path = tiny_model.write_model(
        tmp_path / "m.onnx", metadata={"roadcast.classes": classes, "roadcast.precision": "int8"}
    )
    spec = read_spec(path)
    assert (spec.id, spec.precision, spec.pixels, spec.multiple) == ("tiny", "int8", 128 * 64, 32)
    assert spec.classes.to_wire() == [{"id": 3, "name": "cow", "color": [1, 2, 3], "is_thing": True}]
    assert spec.outputs == ("labels", "confidence")
    assert spec.fixed_size is None
    assert spec.batch is None
    assert len(spec.sha256) == 64
    assert spec.card["roadcast.card"] == '{"data": "none", "licence": "none"}'


def test_a_model_without_a_class_table_has_the_cityscapes_classes(model: Path) -> None:
    assert read_spec(model).classes == CITYSCAPES


def test_a_fixed_size_is_the_network_size(tmp_path: Path) -> None:
    spec = read_spec(tiny_model.write_model(tmp_path / "m.onnx", size=(96, 64), scale=4))
    assert spec.fixed_size == (96, 64)
    assert spec.network_size((1920, 1080)) == (96, 64)


def test_header_agrees_with_the_onnx_package(model: Path) -> None:
    import onnx

    wanted = onnx.load(model)
    header = read_header(model)
    assert [t.name for t in header.inputs] == [i.name for i in wanted.graph.input]
    assert [t.name for t in header.outputs] == [o.name for o in wanted.graph.output]
    assert header.metadata == {entry.key: entry.value for entry in wanted.metadata_props}
    assert header.inputs[0].shape == (None, None, None, 3)


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ({"input_name": "image"}, r"no input 'frame' \(inputs found: 'image'\)"),
        ({"input_type": TensorProto.FLOAT}, "'frame' must be uint8, but is float32"),
        ({"labels_name": "logits"}, r"no output 'labels' \(outputs found: 'logits', 'confidence'\)"),
        ({"labels_type": TensorProto.INT64}, "'labels' must be uint8, but is int64"),
        ({"metadata": {"roadcast.pixels": "many"}}, "'roadcast.pixels' must be a whole number above 0"),
        ({"metadata": {"roadcast.multiple": "0"}}, "'roadcast.multiple' must be a whole number above 0"),
        ({"metadata": {"roadcast.classes": "[1]"}}, "'roadcast.classes' must be a JSON list"),
        ({"metadata": {"roadcast.classes": "{"}}, "'roadcast.classes' must be a JSON list"),
    ],
)
@pytest.mark.parametrize("name", ENGINES)
def test_a_broken_contract_is_one_clear_sentence(
    name: str, broken: dict[str, object], message: str, tmp_path: Path
) -> None:
    path = tiny_model.write_model(tmp_path / "bad.onnx", **broken)  # type: ignore[arg-type]
    with pytest.raises(ModelError, match=f"'bad.onnx' breaks the graph contract: .*{message}.*It must take 'frame'"):
        open_engine(name, path, device="cpu")


def _header(**changes: object) -> object:
    tensor = contract.OnnxTensor
    parts: dict[str, object] = {
        "inputs": (tensor("frame", "uint8", (1, 64, 96, 3)),),
        "outputs": (tensor("labels", "uint8", (1, 32, 48)),),
        "metadata": {},
        "sha256": "",
    }
    return contract.OnnxHeader(**(parts | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"inputs": ()}, "inputs found: none"),
        ({"inputs": (("frame", "uint8", (1, 3, 64, 96)),)}, r"3 channels BGR, but is \[1, 3, 64, 96\]"),
        ({"inputs": (("frame", "uint8", (64, 96, 3)),)}, "four axes"),
        ({"inputs": (("frame", "uint8", None),)}, "unknown axes"),
        ({"inputs": (("frame", "uint8", (1, 64, None, 3)),)}, "both fixed or both free"),
        ({"inputs": (("frame", "uint8", (1, 64, 96, 3)), ("size", "int64", (2,)))}, "besides 'frame'"),
        ({"outputs": (("labels", "uint8", (1, 19, 32, 48)),)}, "must have 3 axes"),
        ({"outputs": (("labels", "uint8", (1, 30, 48)),)}, "do not divide"),
        ({"outputs": (("labels", "uint8", (1, 32, 24)),)}, "do not divide"),
        ({"outputs": (("labels", "uint8", (1, 64, 96)), ("confidence", "float32", (1, 64, 96)))}, "must be uint8"),
    ],
)
def test_shapes_that_break_the_contract(
    changes: dict[str, tuple[tuple[str, str, object], ...]],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tensors = {key: tuple(contract.OnnxTensor(*row) for row in rows) for key, rows in changes.items()}  # type: ignore[arg-type]
    monkeypatch.setattr(contract, "read_header", lambda _: _header(**tensors))
    (tmp_path / "any.onnx").touch()
    with pytest.raises(ModelError, match=message):
        read_spec(tmp_path / "any.onnx")


@pytest.mark.parametrize("name", ENGINES)
def test_a_missing_model_is_named(name: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"nowhere\.onnx': there is no such file"):
        open_engine(name, tmp_path / "nowhere.onnx", device="cpu")


@pytest.mark.parametrize("name", ENGINES)
def test_a_name_that_no_model_has_is_met_with_those_there_are(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError, match=r"the name of a model that comes with the package: (.+)\.$") as refused:
        open_engine(name, Path("nope"), device="cpu")
    offered = str(refused.value).rpartition(": ")[2].rstrip(".").split(", ")
    assert "default" in offered
    for found in offered:
        assert "labels" in read_spec(model_file(found)).outputs  # an enhancement is no answer to --model


@pytest.mark.parametrize("content", [b"", b"hello, world, this is text", bytes(range(256)) * 8])
@pytest.mark.parametrize("name", ENGINES)
def test_what_is_no_model_is_refused(name: str, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "odd.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"odd\.onnx"):
        open_engine(name, path, device="cpu")


def test_a_keras_model_is_told_apart_from_a_damaged_one(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "model.keras", "w") as archive:
        archive.writestr("config.json", "{}")
    with pytest.raises(ModelError, match=r"model\.keras' is no ONNX model but an archive.*roadcast-train export"):
        read_header(tmp_path / "model.keras")


@pytest.mark.parametrize("name", ENGINES)
def test_a_truncated_model_is_refused(name: str, model: Path) -> None:
    whole = model.read_bytes()
    for length in (1, len(whole) // 3, len(whole) // 2, len(whole) - 60):
        model.write_bytes(whole[:length])
        with pytest.raises(ModelError):
            open_engine(name, model, device="cpu")


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_file_never_raises_anything_but_a_model_error(data: st.DataObject, tmp_path: Path) -> None:
    whole = bytearray(tiny_model.write_model(tmp_path / "fuzz.onnx").read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    damaged = tmp_path / "damaged.onnx"
    damaged.write_bytes(bytes(whole[: data.draw(st.integers(0, len(whole)))]))
    with suppress(ModelError):  # any other error fails the test; some damage is harmless
        read_spec(damaged)


@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
def test_sizes_that_the_model_does_not_take(name: str, tmp_path: Path) -> None:
    free = open_engine(name, tiny_model.write_model(tmp_path / "free.onnx"), device="cpu")
    fixed = open_engine(name, tiny_model.write_model(tmp_path / "fixed.onnx", size=(96, 64)), device="cpu")
    with pytest.raises(ShapeError, match="multiples of 32, got 100x64"):
        free.submit(np.zeros((1, 64, 100, 3), np.uint8))
    with pytest.raises(ShapeError, match="takes frames of 96x64, got 64x64"):
        fixed.submit(np.zeros((1, 64, 64, 3), np.uint8))
    free.close()
    fixed.close()


@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
def test_labels_that_do_not_divide_the_frame_are_an_engine_error(name: str, tmp_path: Path) -> None:
    engine = open_engine(name, tiny_model.write_model(tmp_path / "odd.onnx", scale=3), device="cpu")
    with pytest.raises(EngineError, match="not the same whole fraction"):
        engine.submit(np.zeros((1, 32, 64, 3), np.uint8)).result()
    engine.close()
