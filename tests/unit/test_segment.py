"""The segment stage: order, overlap, latency, and an end that never hangs."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest
import tiny_model

from perception.engines.answers import check_outputs
from perception.engines.open import open_engine
from perception.engines.recorded import RecordedEngine
from perception.engines.simulated import SimulatedEngine
from perception.errors import EngineError
from perception.stages.segment import segment
from perception.types import CaptureTime, Frame, Latency, Scene

LAPS = ["prepare", "submit", "wait_infer", "infer", "wait_collect"]


def scenes(count: int, width: int = 64, height: int = 32) -> Iterator[Scene]:
    for number in range(count):
        frame = Frame("front", number, CaptureTime.now(), np.full((height, width, 3), number, np.uint8))
        yield Scene(frame, Latency(frame.time.captured_mono_ns))


def card_size(size: tuple[int, int]) -> tuple[int, int]:
    return size


def test_ids_of_a_model_are_handed_on_and_those_that_make_no_sense_refused() -> None:
    labels = np.full((2, 64, 32), 13, np.uint8)
    ids = np.stack([np.zeros((64, 32), np.int32), np.full((64, 32), 3, np.int32)])
    scores = np.linspace(0, 1, 6, dtype=np.float32).reshape(2, 3)
    outputs = {"labels": labels, "ids": ids, "id_scores": scores}
    engine = RecordedEngine(outputs)
    for scene in segment(engine, size=card_size)(scenes(2)):
        assert scene.segmentation is not None
        np.testing.assert_array_equal(scene.segmentation.ids, ids[scene.frame.number])
        np.testing.assert_array_equal(scene.segmentation.id_scores, scores[scene.frame.number])
    engine.close()
    check_outputs(engine.spec, (2, 64, 32, 3), outputs)
    for wrong, message in (
        (outputs | {"ids": ids + 1}, "ids 1..4, but scores of 1..3"),
        (outputs | {"ids": ids - 1}, "ids -1..2"),
        (outputs | {"ids": ids[:, :32]}, "'ids' of shape"),
        (outputs | {"id_scores": scores[:1]}, "'id_scores' of"),
        (outputs | {"id_scores": scores * 2}, r"of 0.0\.\.2.0; they must be probabilities"),
        (outputs | {"id_scores": scores * np.float32(np.nan)}, "must be probabilities"),
    ):
        with pytest.raises(EngineError, match=message):
            check_outputs(engine.spec, (2, 64, 32, 3), wrong)


def test_every_scene_gets_its_own_labels_in_order() -> None:
    engine = SimulatedEngine(infer_ms=1, slots=3)
    segmented = list(segment(engine, size=card_size)(scenes(19)))
    assert [scene.frame.number for scene in segmented] == list(range(19))
    for scene in segmented:
        assert scene.segmentation is not None
        assert (scene.segmentation.labels == scene.frame.number).all()
    engine.close()


def test_a_frame_is_brought_to_the_size_of_the_model_card(tmp_path: Path) -> None:
    engine = open_engine("onnxruntime", tiny_model.write_model(tmp_path / "m.onnx", scale=2), device="cpu")
    (scene,) = segment(engine)(scenes(1, 1280, 640))
    assert scene.segmentation is not None
    assert scene.segmentation.labels.shape == (32, 64)  # half of the 128x64 that the card's budget allows
    assert scene.segmentation.confidence is not None
    assert scene.frame.size == (1280, 640)
    engine.close()


def test_laps_are_measured_and_add_up() -> None:
    engine = SimulatedEngine(infer_ms=5, slots=2)
    for scene in segment(engine, size=card_size)(scenes(5)):
        spent = scene.latency.spent_ns
        assert [name for name in spent if name in LAPS] == LAPS
        assert all(value >= 0 for value in spent.values())
        assert sum(spent.values()) == scene.latency.mark_ns - scene.frame.time.captured_mono_ns
        assert spent["infer"] <= 5_000_000
    engine.close()


def test_an_engine_error_reaches_the_consumer_after_what_came_before() -> None:
    engine = SimulatedEngine(infer_ms=1, slots=2)
    stage = segment(engine, size=card_size)(scenes(50))
    assert next(stage).frame.number == 0
    engine.close()
    with pytest.raises(EngineError, match="closed"):
        list(stage)


@pytest.mark.parametrize("slots", [1, 2, 5])
def test_a_consumer_that_leaves_stops_the_thread_and_frees_every_slot(slots: int) -> None:
    engine = SimulatedEngine(infer_ms=1, slots=slots)
    before = threading.active_count()
    for _ in range(3):
        stage = segment(engine, size=card_size)(scenes(1000))
        next(stage)
        stage.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before
    held = [engine.submit(np.zeros((1, 32, 32, 3), np.uint8)) for _ in range(slots)]  # would wait for ever
    assert len(held) == slots
    engine.close()


def test_a_source_error_reaches_the_consumer_after_what_came_before() -> None:
    def broken() -> Iterable[Scene]:
        yield from scenes(3)
        raise OSError("unplugged")

    engine = SimulatedEngine(infer_ms=1)
    stage = segment(engine, size=card_size)(broken())
    assert [next(stage).frame.number for _ in range(3)] == [0, 1, 2]
    with pytest.raises(OSError, match="unplugged"):
        next(stage)
    engine.close()


def test_scenes_pass_in_their_place_while_nobody_wants_them() -> None:
    engine = SimulatedEngine(infer_ms=1)
    wanted = iter([True, False, False, True])
    out = list(segment(engine, size=card_size, wanted=lambda _: next(wanted))(scenes(4)))
    assert [scene.segmentation is not None for scene in out] == [True, False, False, True]
    assert [scene.frame.number for scene in out] == [0, 1, 2, 3]
    engine.close()
