"""What every engine promises, tried on every engine."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tiny_model

from perception.engines.engine import Engine, Pending
from perception.engines.open import open_engine
from perception.engines.recorded import RecordedEngine
from perception.errors import EngineError, ShapeError

GENEROUS_S = 20.0
Frames = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Case:
    """One kind of engine, and the labels it must answer to the batch that is its ``index``-th frame."""

    name: str
    open: Callable[[Path, int], Engine]
    labels: Callable[[int, Frames], npt.NDArray[np.uint8]]


def _file_case(name: str, **options: Any) -> Case:
    def open_(folder: Path, slots: int) -> Engine:
        model = tiny_model.write_model(folder / "tiny.onnx", scale=2)
        return open_engine(name, model, slots=slots, device="cpu", **options)

    return Case(f"{name}-{options['mode']}", open_, lambda _, frames: tiny_model.expected(frames, 2)[0])


def _recorded(_: Path, slots: int) -> Engine:
    labels = np.broadcast_to(np.arange(19, dtype=np.uint8)[:, None, None], (19, 8, 8)).copy()
    return RecordedEngine({"labels": labels, "confidence": labels * 10}, slots=slots)


def _recorded_labels(index: int, frames: Frames) -> npt.NDArray[np.uint8]:
    classes = (np.arange(index, index + len(frames)) % 19).astype(np.uint8)
    return np.broadcast_to(classes[:, None, None], (len(frames), 8, 8))


def _simulated_labels(_: int, frames: Frames) -> npt.NDArray[np.uint8]:
    return np.broadcast_to((frames[:, 0, 0, 0] % 19)[:, None, None], frames.shape[:3])


CASES = [
    _file_case("onnxruntime", mode="throughput"),
    _file_case("onnxruntime", mode="latency"),
    _file_case("openvino", mode="throughput"),
    _file_case("openvino", mode="latency"),
    _file_case("auto", mode="throughput"),
    Case("recorded", _recorded, _recorded_labels),
    Case("simulated", lambda _, slots: open_engine("simulated://?infer_ms=1", slots=slots), _simulated_labels),
]


@pytest.fixture(params=CASES, ids=lambda case: case.name)
def case(request: pytest.FixtureRequest) -> Case:
    found: Case = request.param
    if found.name.startswith("openvino"):
        pytest.importorskip("openvino", reason="the optional engine OpenVINO is not installed")
    return found


@pytest.fixture
def engine(case: Case, tmp_path: Path) -> Iterator[Engine]:
    opened = case.open(tmp_path, 2)
    yield opened
    opened.close()


def batch(seed: int, count: int = 1, height: int = 32, width: int = 64) -> Frames:
    return np.random.default_rng(seed).integers(0, 256, (count, height, width, 3), dtype=np.uint8)


def test_says_what_it_is(engine: Engine) -> None:
    assert engine.name
    assert engine.slots == 2
    assert engine.reason.endswith(".")
    assert "labels" in engine.spec.outputs


def test_answers_in_the_order_of_submit(case: Case, engine: Engine) -> None:
    frames = [batch(seed) for seed in range(24)]
    pending = [engine.submit(frames[0])]
    for index in range(1, len(frames)):
        pending.append(engine.submit(frames[index]))
        outputs = pending[index - 1].result()
        np.testing.assert_array_equal(outputs["labels"], case.labels(index - 1, frames[index - 1]))
    np.testing.assert_array_equal(pending[-1].result()["labels"], case.labels(23, frames[23]))


def test_results_may_be_collected_out_of_order(case: Case, engine: Engine) -> None:
    first, second = batch(1), batch(2)
    early, late = engine.submit(first), engine.submit(second)
    np.testing.assert_array_equal(late.result()["labels"], case.labels(1, second))
    np.testing.assert_array_equal(early.result()["labels"], case.labels(0, first))


def test_takes_batches_and_any_size(case: Case, engine: Engine) -> None:
    index = 0
    for count, height, width in [(2, 32, 64), (1, 96, 32), (3, 64, 64), (2, 32, 64)]:
        frames = batch(index, count, height, width)
        outputs = engine.submit(frames).result()
        np.testing.assert_array_equal(outputs["labels"], case.labels(index, frames))
        assert outputs["confidence"].shape == outputs["labels"].shape
        index += count


def test_takes_frames_that_are_not_contiguous(case: Case, engine: Engine) -> None:
    frames = batch(5, 1, 64, 128)[:, ::2, ::2]
    np.testing.assert_array_equal(engine.submit(frames).result()["labels"], case.labels(0, frames))


def test_results_belong_to_the_caller(engine: Engine) -> None:
    frames = batch(7)
    outputs = engine.submit(frames).result()
    kept = {name: array.copy() for name, array in outputs.items()}
    for seed in range(8, 27):  # once round the recorded answers
        engine.submit(batch(seed)).result()
    for name, array in outputs.items():
        np.testing.assert_array_equal(array, kept[name])
        array[:] = 255
    assert not (engine.submit(frames).result()["labels"] == 255).any()


def test_tells_when_the_network_ran(engine: Engine) -> None:
    pending = engine.submit(batch(1))
    pending.result()
    assert 0 < pending.started_ns <= pending.finished_ns


def test_submit_waits_for_a_slot(engine: Engine) -> None:
    held = [engine.submit(batch(seed)) for seed in range(engine.slots)]
    with ThreadPoolExecutor(1) as other:
        third = other.submit(engine.submit, batch(9))
        waited = threading.Event().wait(0.1)
        assert not third.done(), waited
        held[0].result()
        third.result(GENEROUS_S).result()


def test_a_batch_nobody_asks_for_gives_its_slot_back(case: Case, engine: Engine) -> None:
    for seed in range(2 * engine.slots):
        engine.submit(batch(seed))
    index = 2 * engine.slots
    np.testing.assert_array_equal(engine.submit(batch(99)).result()["labels"], case.labels(index, batch(99)))


def test_close_releases_who_waits_for_a_slot(engine: Engine) -> None:
    held = [engine.submit(batch(seed)) for seed in range(engine.slots)]
    with ThreadPoolExecutor(1) as other:
        waiting = other.submit(engine.submit, batch(9))
        threading.Event().wait(0.05)
        engine.close()
        with pytest.raises(EngineError, match="closed"):
            waiting.result(GENEROUS_S)
    del held


def test_close_with_batches_pending(case: Case, tmp_path: Path) -> None:
    engine = case.open(tmp_path, 6)
    pending = [engine.submit(batch(seed)) for seed in range(6)]
    engine.close()
    answers = [_labels_or_error(one) for one in pending]
    for index, answer in enumerate(answers):
        if isinstance(answer, EngineError):
            assert "closed" in str(answer)
        else:
            np.testing.assert_array_equal(answer, case.labels(index, batch(index)))


def _labels_or_error(pending: Pending) -> npt.NDArray[np.uint8] | EngineError:
    try:
        return pending.result()["labels"]
    except EngineError as error:
        return error


def test_after_close(engine: Engine) -> None:
    engine.close()
    engine.close()
    with pytest.raises(EngineError, match="closed"):
        engine.submit(batch(1))


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        (np.zeros((1, 32, 64, 3), np.float32), "must be uint8"),
        (np.zeros((32, 64, 3), np.uint8), r"\(N, H, W, 3\)"),
        (np.zeros((1, 32, 64, 4), np.uint8), r"got uint8 \(1, 32, 64, 4\)"),
        (np.zeros((0, 32, 64, 3), np.uint8), "at least 1"),
        (np.zeros((1, 0, 64, 3), np.uint8), "got 64x0"),
    ],
)
def test_refuses_what_is_no_batch_of_frames(engine: Engine, frames: Frames, message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        engine.submit(frames)
    engine.submit(batch(1)).result()  # and it took no slot
    engine.submit(batch(2)).result()
