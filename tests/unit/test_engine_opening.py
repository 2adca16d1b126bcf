"""Names and options that an engine is opened with, good and bad."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import tiny_model

from perception.engines import auto
from perception.engines import onnxruntime as onnxruntime_engine
from perception.engines.contract import read_spec
from perception.engines.engine import Engine
from perception.engines.mode import Device
from perception.engines.onnxruntime import OnnxRuntimeEngine
from perception.engines.open import open_engine
from perception.engines.shipped import model_file
from perception.errors import ConfigError, EngineUnavailable, ModelError


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


@pytest.mark.parametrize(("engine", "device"), [("openvino", "cuda"), ("tensorrt", "cpu")])
def test_a_device_that_the_engine_does_not_know_is_refused(engine: str, device: Device, model: Path) -> None:
    with pytest.raises(ConfigError, match=rf"{engine!r} computes on \w+ alone: leave --device {device} out"):
        open_engine(engine, model, device=device)


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
