"""The engine ``tensorrt`` on a real GPU: what the fake device cannot show."""

from __future__ import annotations

import json
from collections import deque
from pathlib import Path

import numpy as np
import pytest
import tiny_model

from perception.cli.main import main
from perception.engines.engine import ResizingEngine
from perception.engines.open import open_engine
from perception.engines.tensorrt.build import Recipe, targets
from perception.engines.tensorrt.compile import compile_engine
from perception.engines.tensorrt.cuda import Cuda, find_gpu
from perception.engines.tensorrt.device import Gpu
from perception.engines.tensorrt.library import Library, load_library
from perception.engines.tensorrt.resize import SOURCE, plan_resize
from perception.engines.tensorrt.shapes import Shapes
from perception.errors import EngineUnavailable
from perception.stages.prepare import prepare

pytestmark = pytest.mark.gpu
SHAPES = Shapes((1, 1, 4), ((64, 32), (64, 32), (256, 128)))
STEADY_FRAMES = 2000


@pytest.fixture(scope="module")
def gpu() -> Gpu:
    try:
        return find_gpu()
    except EngineUnavailable as error:
        pytest.skip(f"needs an NVIDIA GPU: {error}")


@pytest.fixture(scope="module")
def library(gpu: Gpu) -> Library:
    try:
        found = load_library()
    except EngineUnavailable as error:
        pytest.skip(f"needs TensorRT: {error}")
    if found.backend == "tensorrt_rtx" and gpu.target not in targets(found):
        pytest.skip(f"{found} does not run on {gpu}")
    return found


@pytest.fixture
def model(library: Library, gpu: Gpu, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The colour threshold, compiled for this GPU."""
    monkeypatch.setenv("ROADCAST_CACHE", str(tmp_path / "cache"))
    path = tiny_model.write_model(tmp_path / "tiny.onnx", scale=2)
    compile_engine(library, path, Recipe(gpu.target, SHAPES, is_current_gpu=True), gpu_name=gpu.name)
    return path


def frames(seed: int, count: int = 1, size: tuple[int, int] = (64, 32)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, size[1], size[0], 3), dtype=np.uint8)


def check(outputs: object, batch: np.ndarray) -> None:
    labels, confidence = tiny_model.expected(batch, 2)
    np.testing.assert_array_equal(outputs["labels"], labels)
    np.testing.assert_array_equal(outputs["confidence"], confidence)


@pytest.mark.parametrize("slots", [1, 2, 4])
def test_every_batch_gets_its_own_answer_in_order(model, slots):
    engine = open_engine("tensorrt", model, slots=slots)
    waiting: deque[tuple[np.ndarray, object]] = deque()
    for seed in range(100):
        batch = frames(seed, 1 + seed % 4, [(64, 32), (128, 64), (256, 128)][seed % 3])
        waiting.append((batch, engine.submit(batch)))
        if len(waiting) == slots:
            sent, pending = waiting.popleft()
            check(pending.result(), sent)
    for sent, pending in waiting:
        check(pending.result(), sent)
    engine.close()


@pytest.mark.parametrize("source", [(128, 64), (300, 170), (40, 30), (1280, 720)])
def test_the_gpu_resizes_as_opencv_does(model, source):
    engine = open_engine("tensorrt", model)
    assert isinstance(engine, ResizingEngine)
    batch = frames(1, 2, source)
    outputs = engine.submit_resized(batch, (64, 32)).result()
    check(outputs, np.stack([prepare(frame, (64, 32)) for frame in batch]))
    engine.close()


@pytest.mark.parametrize(
    ("source", "target"), [((1280, 720), (576, 320)), ((1920, 1080), (640, 360)), ((64, 36), (576, 320))]
)
@pytest.mark.usefixtures("gpu")
def test_the_kernels_give_opencvs_bytes(source, target):
    device = Cuda()
    stream, done = device.stream(), device.event()
    plan, frame = plan_resize(source, target), frames(5, 1, source)[0]
    inputs = [frame.ravel(), *(table.view(np.uint8) for table in plan.tables)]
    pinned = [device.pinned(array.nbytes) for array in inputs]
    pointers = [device.allocate(array.nbytes) for array in inputs]
    for memory, pointer, array in zip(pinned, pointers, inputs):
        memory[:] = array
        device.upload(pointer, memory, stream)
    length = target[0] * target[1] * 3
    result, resized = device.pinned(length), device.allocate(length)
    arguments = (pointers[0], resized, *pointers[1:])
    device.launch(device.compile(SOURCE, plan.kernel), target, arguments, (*source, *target, target[1]), stream)
    device.download(result, resized, stream)
    device.record(done, stream)
    device.wait(done)
    np.testing.assert_array_equal(result.reshape(target[1], target[0], 3), prepare(frame, target))
    for memory in (*pinned, result):
        device.free_pinned(memory)
    for pointer in (*pointers, resized):
        device.free(pointer)
    device.destroy(streams=(stream,), events=(done,), graphs=())


def test_memory_of_the_gpu_does_not_grow(model):
    from cuda.bindings import runtime

    engine = open_engine("tensorrt", model)
    batch = frames(1)
    for _ in range(50):
        engine.submit(batch).result()
    free = int(runtime.cudaMemGetInfo()[1])
    for _ in range(STEADY_FRAMES):
        engine.submit(batch).result()
    assert int(runtime.cudaMemGetInfo()[1]) == free
    engine.close()


@pytest.mark.usefixtures("library")
def test_verify_measures_and_a_node_accepts(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("ROADCAST_CACHE", str(tmp_path / "cache"))
    model = tiny_model.write_model(tmp_path / "tiny.onnx", scale=2)
    assert main(["engine", "build", str(model)]) == 0
    capsys.readouterr()
    assert main(["engine", "verify", str(model), "--frames", "4", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["agreement"] >= 0.995
    assert 0 < found["p50_ms"] <= found["p99_ms"]
    engine = open_engine("tensorrt", model)
    assert "; verified;" in engine.reason
    engine.close()
