"""The pipeline of the engine ``tensorrt`` on a device that does everything as late as it may."""

from __future__ import annotations

import gc

import numpy as np
import pytest
from fake_cuda import FakeCuda, FakeNetwork, expected

from perception.engines.tensorrt.device import Gpu
from perception.engines.tensorrt.engine import TensorRtEngine
from perception.engines.tensorrt.lane import KEPT_SHAPES
from perception.engines.tensorrt.passport import Passport
from perception.engines.tensorrt.shapes import Shapes
from perception.engines.tensorrt.timing import WARM_UP, time_network
from perception.errors import EngineError, ShapeError
from perception.pipeline import Stop
from perception.stages.prepare import prepare
from perception.stages.segment import segment

SMALL, LARGE = (32, 32), (192, 128)


def passport(shapes: Shapes = Shapes((1, 1, 4), (SMALL, (64, 32), LARGE))) -> Passport:  # noqa: B008
    return Passport(
        sha256="00",
        bytes=1,
        backend="tensorrt_rtx",
        version="1.7.1",
        target="sm89",
        gpu=None,
        onnx="tiny.onnx",
        onnx_sha256="ab" * 32,
        precision="fp16",
        shapes=shapes,
        flags={},
        build_seconds=1.0,
        built="2026-01-01T00:00:00Z",
        outputs=("labels", "confidence"),
        card={"roadcast.id": "tiny", "roadcast.multiple": "32"},
    )


def make(device: FakeCuda, *, slots: int = 2, shapes: Shapes | None = None) -> TensorRtEngine:
    found = passport(shapes) if shapes else passport()
    return TensorRtEngine(FakeNetwork(device), device, found, gpu=Gpu("a fake GPU", "sm89", "13.0", 2**34), slots=slots)


def frames(seed: int, count: int = 1, size: tuple[int, int] = (64, 32)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, size[1], size[0], 3), dtype=np.uint8)


def check(batch: np.ndarray, outputs: object) -> None:
    labels, confidence = expected(batch)
    np.testing.assert_array_equal(outputs["labels"], labels)
    np.testing.assert_array_equal(outputs["confidence"], confidence)


@pytest.mark.parametrize("records_graphs", [True, False])
@pytest.mark.parametrize("slots", [1, 2, 3])
def test_every_batch_gets_its_own_answer(slots, records_graphs):
    device = FakeCuda(records_graphs=records_graphs)
    engine = make(device, slots=slots)
    waiting = []
    for seed in range(20):
        waiting.append((frames(seed), engine.submit(frames(seed))))
        if len(waiting) == slots:
            batch, pending = waiting.pop(0)
            check(batch, pending.result())
    for batch, pending in waiting:
        check(batch, pending.result())
    assert (device.calls.get("launch_graph", 0) > 0) == records_graphs
    engine.close()
    assert device.holds_nothing()


def test_nothing_is_allocated_in_steady_state():
    device = FakeCuda()
    engine = make(device)
    for seed in range(2):
        [pending.result() for pending in [engine.submit(frames(seed)), engine.submit(frames(seed + 9))]]
    before = dict(device.calls)
    for seed in range(10):
        check(frames(seed), engine.submit(frames(seed)).result())
    new = {name: device.calls[name] - before[name] for name in device.calls if device.calls[name] != before[name]}
    assert new == {"record": 20, "launch_graph": 10, "wait": 10}


def test_the_frame_may_be_changed_after_the_result_and_the_result_is_the_callers():
    engine = make(FakeCuda())
    first = frames(1)
    outputs = engine.submit(first).result()
    kept = outputs["labels"].copy()
    for seed in range(2, 6):
        engine.submit(frames(seed)).result()
    np.testing.assert_array_equal(outputs["labels"], kept)


def test_batches_and_sizes_in_turn():
    device = FakeCuda()
    engine = make(device, slots=1)
    for round_ in range(2):
        for count, size in [(1, (64, 32)), (4, (32, 32)), (2, (192, 128)), (1, (96, 64)), (3, (64, 64)), (1, (32, 64))]:
            batch = frames(round_, count, size)
            check(batch, engine.submit(batch).result())
    assert len(device.graphs) == KEPT_SHAPES
    engine.close()
    assert device.holds_nothing()


@pytest.mark.parametrize("source", [(128, 64), (100, 50), (40, 30), (64, 32)])
def test_frames_of_any_size_are_resized_on_the_way(source):
    device = FakeCuda()
    engine = make(device)
    batch = frames(3, 2, source)
    outputs = engine.submit_resized(batch, (64, 32)).result()
    check(np.stack([prepare(frame, (64, 32)) for frame in batch]), outputs)
    assert ("launch" in device.calls) == (source != (64, 32))


def test_without_nvrtc_frames_are_resized_on_the_cpu():
    device = FakeCuda(has_compiler=False)
    engine = make(device)
    batch = frames(3, 1, (100, 50))
    check(prepare(batch[0], (64, 32))[None], engine.submit_resized(batch, (64, 32)).result())
    assert "launch" not in device.calls
    assert "NVRTC is not installed" in engine.reason


def test_segment_hands_the_frame_over_as_it_is():
    from scenes import make_scene

    device = FakeCuda()
    engine = make(device)
    scenes = [make_scene(number, source_size=(100, 50)) for number in range(5)]
    found = list(segment(engine, size=lambda _: (64, 32), stop=Stop())(iter(scenes)))
    assert [scene.frame.number for scene in found] == list(range(5))
    for scene in found:
        labels, _ = expected(prepare(scene.frame.image, (64, 32))[None])
        np.testing.assert_array_equal(scene.segmentation.labels, labels[0])
    assert device.calls["launch"] > 0


def test_a_batch_that_nobody_asks_for_disturbs_no_other():
    engine = make(FakeCuda(), slots=2)
    for seed in range(6):
        engine.submit(frames(seed))
    gc.collect()
    check(frames(50), engine.submit(frames(50)).result())


def test_the_time_on_the_device_is_told():
    pending = make(FakeCuda()).submit(frames(1))
    pending.result()
    assert 0 < pending.started_ns < pending.finished_ns


@pytest.mark.parametrize(
    ("batch", "size", "message"),
    [
        (frames(1, 5), (64, 32), "compiled for 1..4 x 32x32..192x128, got 5 x 64x32"),
        (frames(1, 1, (256, 128)), (256, 128), "got 1 x 256x128"),
        (frames(1, 1, (50, 50)), (320, 32), "got 1 x 320x32"),
        (frames(1, 1, (50, 50)), (50, 50), "multiples of 32"),
        (frames(1)[0], (64, 32), r"uint8 \(N, H, W, 3\)"),
        (frames(1).astype(np.float32), (64, 32), "float32"),
    ],
)
def test_refuses_what_it_was_not_compiled_for(batch, size, message):
    engine = make(FakeCuda())
    with pytest.raises(ShapeError, match=message):
        engine.submit_resized(batch, size)
    check(frames(2), engine.submit(frames(2)).result())


@pytest.mark.parametrize("call", ["wait", "launch_graph", "record"])
def test_an_error_of_the_device_is_one_sentence_and_everything_is_freed(call):
    device = FakeCuda()
    engine = make(device)
    engine.submit(frames(1)).result()
    device.fail = call
    with pytest.raises(EngineError, match="illegal memory access"):
        engine.submit(frames(2)).result()
    engine.close()
    assert device.holds_nothing()


@pytest.mark.parametrize("call", ["allocate", "pinned", "upload", "enqueue", "begin_capture"])
def test_a_shape_that_fails_while_it_is_set_up_leaves_nothing(call):
    device = FakeCuda()
    engine = make(device)
    engine.submit(frames(1)).result()
    device.fail = call
    if call == "begin_capture":  # is done without
        check(frames(2, 2), engine.submit(frames(2, 2)).result())
    else:
        with pytest.raises(EngineError, match=f"cannot {call}"):
            engine.submit(frames(2, 2))
    device.fail = None
    check(frames(3, 2), engine.submit(frames(3, 2)).result())
    engine.close()
    assert device.holds_nothing()


def test_after_close():
    device = FakeCuda()
    engine = make(device)
    pending = engine.submit(frames(1))
    engine.close()
    engine.close()
    with pytest.raises(EngineError, match="closed"):
        pending.result()
    with pytest.raises(EngineError, match="closed"):
        engine.submit(frames(1))
    del pending
    assert device.holds_nothing()


def test_the_spec_comes_from_the_passport():
    free = make(FakeCuda())
    assert (free.spec.id, free.spec.fixed_size, free.spec.batch) == ("tiny", None, None)
    fixed = make(FakeCuda(), shapes=Shapes((2, 2, 2), ((64, 32),) * 3))
    assert (fixed.spec.fixed_size, fixed.spec.batch) == ((64, 32), 2)
    assert fixed.spec.sha256 == "ab" * 32


def test_the_network_alone_is_timed_and_leaves_nothing():
    device = FakeCuda()
    took = time_network(FakeNetwork(device), device, (2, 32, 64, 3), rounds=50)
    assert took == pytest.approx(1.0, abs=0.05)  # the fake counts its work: one piece a run
    assert device.calls["launch_graph"] == 50 + WARM_UP
    assert "upload" not in device.calls
    assert device.holds_nothing()
    device.fail = "launch_graph"
    with pytest.raises(EngineError, match="illegal memory"):
        time_network(FakeNetwork(device), device, (2, 32, 64, 3), rounds=1)
    assert device.holds_nothing()
