"""Names, options and model files that an engine is opened with, good and bad."""

from __future__ import annotations

import importlib.util
import re
import sys
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
from perception.engines import auto, contract
from perception.engines import onnxruntime as onnxruntime_engine
from perception.engines.contract import read_spec
from perception.engines.engine import Engine
from perception.engines.onnx_file import read_header
from perception.engines.onnxruntime import OnnxRuntimeEngine
from perception.engines.open import open_engine
from perception.engines.pool import RunPool
from perception.engines.recorded import open_recorded
from perception.engines.shipped import model_file
from perception.errors import ConfigError, EngineError, EngineUnavailable, ModelError, ShapeError

ENGINES = ["onnxruntime", "openvino", "auto"]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return tiny_model.write_model(tmp_path / "tiny.onnx")


def test_a_model_that_comes_with_the_package_goes_by_its_name(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("fcn8s-slim", "unet-slim"):
        assert read_spec(model_file(name)).id == name
    assert model_file("nothing-by-this-name") == Path("nothing-by-this-name")
    assert model_file("folder/fcn8s-slim") == Path("folder/fcn8s-slim")
    model.rename(tmp_path / "fcn8s-slim")
    assert model_file("fcn8s-slim") == Path("fcn8s-slim")  # a file of that name comes first


def test_an_unknown_engine_is_refused_with_the_known_ones(model: Path) -> None:
    with pytest.raises(EngineUnavailable, match=r"no engine 'tensorflow'.*onnxruntime, openvino, tensorrt, recorded"):
        open_engine("tensorflow", model)


@pytest.mark.parametrize(("library", "extra"), [("onnxruntime", "node"), ("openvino", "openvino")])
def test_a_missing_library_is_named_with_its_extra(
    library: str, extra: str, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(EngineUnavailable, match=re.escape(f"pip install 'roadcast[{extra}]'")):
        open_engine(library, model)


@pytest.mark.parametrize("options", [{"mode": "fast"}, {"device": "tpu"}, {"threads": 0}, {"slots": 0}, {"slots": -1}])
def test_impossible_options_are_refused(options: dict[str, object], model: Path) -> None:
    with pytest.raises(ConfigError):
        open_engine("onnxruntime", model, **options)  # type: ignore[arg-type]


def test_cuda_is_refused_where_there_is_none(model: Path) -> None:
    with pytest.raises(EngineUnavailable, match="CUDA"):
        open_engine("onnxruntime", model, device="cuda")


class _WithoutGpu:
    """A session of a GPU build of ONNX Runtime on a machine whose CUDA does not load."""

    def get_providers(self) -> list[str]:
        return ["CPUExecutionProvider"]


def test_a_cuda_provider_that_does_not_load_is_reported(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnxruntime_engine, "offers_cuda", lambda: True)
    monkeypatch.setattr(onnxruntime_engine, "_session", lambda *_: _WithoutGpu())
    engine = open_engine("onnxruntime", model)
    assert "it has a CUDA provider, but that does not load here" in engine.reason
    assert engine.fell_back
    engine.close()
    with pytest.raises(EngineUnavailable, match="does not load here"):
        open_engine("onnxruntime", model, device="cuda")


def test_bound_inputs_and_outputs_give_the_same_answers(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = onnxruntime_engine._session
    monkeypatch.setattr(onnxruntime_engine, "_session", lambda *args: opened(*args[:3], ["CPUExecutionProvider"]))
    monkeypatch.setattr(onnxruntime_engine, "CUDA", "CPUExecutionProvider")  # the GPU's way of running, on the CPU
    engine = OnnxRuntimeEngine(model, device="auto")
    assert engine.on_gpu
    frames = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)[:, ::2]
    labels, confidence = tiny_model.expected(frames)
    outputs = engine.submit(frames).result()
    engine.submit(255 - frames).result()
    np.testing.assert_array_equal(outputs["labels"], labels)
    np.testing.assert_array_equal(outputs["confidence"], confidence)
    engine.close()


def test_auto_takes_onnxruntime_without_openvino_and_says_so(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(auto, "find_spec", lambda name: None if name == "openvino" else find(name))
    engine = open_engine("auto", model)
    assert engine.name == "onnxruntime"
    assert "because OpenVINO is not installed" in engine.reason
    assert not engine.fell_back  # nothing here was better
    engine.close()


def test_auto_takes_onnxruntime_where_openvino_would_compute_in_fp32(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(auto, "find_spec", lambda name: name)
    monkeypatch.setattr(auto, "computes_in_bf16", lambda: False)
    engine = open_engine("auto", model)
    assert engine.name == "onnxruntime"
    assert "no bf16" in engine.reason
    assert not engine.fell_back
    engine.close()


def test_auto_falls_back_where_openvino_cannot_run_the_model(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: object, **_options: object) -> Engine:
        raise ModelError("it has an operator of its own")

    monkeypatch.setattr(auto, "_why_not_openvino", lambda: None)
    monkeypatch.setattr(auto, "OpenVinoEngine", refuse)
    engine = open_engine("auto", model)
    assert engine.name == "onnxruntime"
    assert engine.fell_back
    assert "because OpenVINO cannot run this model (it has an operator of its own)" in engine.reason
    engine.close()


@pytest.mark.parametrize("offered", [True, False])
def test_auto_falls_back_from_a_gpu_that_does_not_load(
    offered: bool, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (auto, onnxruntime_engine):
        monkeypatch.setattr(module, "offers_cuda", lambda: offered)
    monkeypatch.setattr(onnxruntime_engine, "_session", lambda *_: _WithoutGpu())
    monkeypatch.setattr(auto, "_why_not_openvino", lambda: None)
    monkeypatch.setattr(auto, "OpenVinoEngine", lambda *_args, **_options: open_engine("simulated://"))
    engine = open_engine("auto", model)
    assert engine.name == "simulated"
    assert engine.fell_back == offered
    assert ("the CUDA provider of ONNX Runtime does not load here" in engine.reason) == offered
    engine.close()


def test_threads_and_mode_divide_the_cores(model: Path) -> None:
    throughput = OnnxRuntimeEngine(model, mode="throughput", threads=3, device="cpu")
    latency = OnnxRuntimeEngine(model, mode="latency", threads=3, device="cpu")
    assert (throughput.slots, latency.slots) == (4, 2)
    assert "3 runs at a time on 1 thread each" in throughput.reason
    assert "1 run at a time on 3 threads each" in latency.reason
    throughput.close()
    latency.close()


# --- model files -------------------------------------------------------------------------------------------


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


# --- prepared and simulated answers ------------------------------------------------------------------------


def test_recorded_answers_come_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "answers.npz"
    np.savez(path, labels=np.arange(3, dtype=np.uint8)[:, None, None].repeat(4, 1).repeat(4, 2))
    engine = open_engine("recorded", path)
    answers = [int(engine.submit(np.zeros((1, 8, 8, 3), np.uint8)).result()["labels"][0, 0, 0]) for _ in range(4)]
    assert answers == [0, 1, 2, 0]
    engine.close()


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"confidence": np.zeros((2, 4, 4), np.uint8)}, "need 'labels'"),
        ({"labels": np.zeros((0, 4, 4), np.uint8)}, "at least one frame"),
        ({"labels": np.zeros((2, 4, 4), np.int64)}, "must be uint8"),
        ({"labels": np.zeros((2, 4, 4), np.uint8), "confidence": np.zeros((3, 4, 4), np.uint8)}, "first 2 long"),
        ({"labels": np.zeros((2, 4, 4), np.uint8), "depth": np.zeros((2, 4, 4), np.uint8)}, "'depth'"),
    ],
)
def test_recorded_answers_keep_the_contract(arrays: dict[str, np.ndarray], message: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", **arrays)  # type: ignore[arg-type]
    with pytest.raises(ModelError, match=message):
        open_recorded(tmp_path / "a.npz")


@pytest.mark.parametrize("content", [None, b"", b"not a zip file", b"PK\x03\x04broken"])
def test_a_file_without_recorded_answers_is_refused(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ModelError, match=r"a\.npz"):
        open_engine("recorded", path)


def test_recorded_answers_need_a_file() -> None:
    with pytest.raises(ModelError, match="needs its answers"):
        open_engine("recorded")


@pytest.mark.parametrize(
    "uri", ["simulated://?infer_ms=fast", "simulated://?slots=0", "simulated://?infer_ms=-1", "simulated://?ms=3",
            "simulated://?infer_ms=nan"]
)  # fmt: skip
def test_a_wrong_simulation_is_refused(uri: str) -> None:
    with pytest.raises(EngineUnavailable, match="write simulated://"):
        open_engine(uri)


def test_simulated_batches_are_served_one_after_the_other() -> None:
    engine = open_engine("simulated://?infer_ms=20&slots=3")
    assert engine.slots == 3
    pending = [engine.submit(np.zeros((1, 32, 32, 3), np.uint8)) for _ in range(3)]
    for one in pending:
        one.result()
    assert [one.finished_ns - one.started_ns for one in pending] == [20_000_000] * 3
    assert pending[1].started_ns == pending[0].finished_ns
    assert pending[2].started_ns == pending[1].finished_ns
    engine.close()


def test_closing_a_simulation_interrupts_who_waits_for_a_result() -> None:
    engine = open_engine("simulated://?infer_ms=600000")
    pending = engine.submit(np.zeros((1, 32, 32, 3), np.uint8))
    engine.close()
    with pytest.raises(EngineError, match="closed"):
        pending.result()


def test_an_error_inside_a_run_reaches_the_caller_of_result() -> None:
    def run(_: object) -> dict[str, np.ndarray]:
        raise MemoryError("out of arena\nlong explanation")

    pool = RunPool(run, engine="fragile", workers=1, slots=1)
    for _ in range(2):  # and its slot is free again
        with pytest.raises(EngineError, match=r"'fragile' failed on a batch of shape \(1, 2, 2, 3\): out of arena$"):
            pool.submit(np.zeros((1, 2, 2, 3), np.uint8)).result()
    pool.close()
