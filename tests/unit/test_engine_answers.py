"""Engines without a network: answers that were prepared, and a simulated machine."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from perception.engines.open import open_engine
from perception.engines.pool import RunPool
from perception.engines.recorded import open_recorded
from perception.errors import EngineError, EngineUnavailable, ModelError


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
