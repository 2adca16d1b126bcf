"""How a whole node ends when something fails, hangs, cannot begin or is interrupted."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from nodes import ENDS_WITHIN_S, PATIENCE_S, FakeSource, no_threads_left, receive, recorded, run_with_reader

import perception.node
import perception.stages.judged
import perception.stream
from perception.config import NodeConfig
from perception.engines.engine import Batch, Engine, ModelSpec, Outputs, Pending
from perception.errors import ConfigError, EndpointError, EngineError, ModelError, SourceError
from perception.node import build
from perception.refinement.settings import CARD_KEY
from perception.run import run
from perception.summary import Status


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Callable[[Engine], None]:
    """Give the nodes of this test that engine."""

    def use(made: Engine) -> None:
        monkeypatch.setattr(perception.node, "open_node_engine", lambda *_args, **_kwargs: made)

    use(recorded())
    return use


class FailingEngine:
    """Works for some batches (the warm-up counts), then raises."""

    name = "failing"
    slots = 2
    reason = "Fails on purpose."
    fell_back = False

    def __init__(self, after: int) -> None:
        self._inner = recorded()
        self._left = after
        self.spec: ModelSpec = self._inner.spec

    def submit(self, frames: Batch) -> Pending:
        return FailingPending(self, self._inner.submit(frames))

    def fail(self) -> bool:
        self._left -= 1
        return self._left < 0

    def close(self) -> None:
        self._inner.close()


class FailingPending:
    started_ns = finished_ns = 0

    def __init__(self, engine: FailingEngine, inner: Pending) -> None:
        self._engine = engine
        self._inner = inner

    def result(self) -> Outputs:
        outputs = self._inner.result()
        if self._engine.fail():
            raise EngineError("The device fell off the bus.")
        return outputs


def test_an_engine_that_fails_ends_the_node_and_loses_what_it_held(
    film: str, endpoint: str, engine: Callable[[Engine], None]
) -> None:
    engine(FailingEngine(after=2 + 5))
    summary, got = run_with_reader(NodeConfig(source=film, publish=endpoint, pace="max", wait_subscribers=1))
    assert got.frames == list(range(5))
    assert (summary.state, summary.reason, summary.exit_code) == ("failed", "engine_error", 3)
    assert summary.error == "The device fell off the bus."
    assert summary.frames.balanced
    assert summary.frames.in_flight == 0
    assert summary.frames.published == 5
    assert summary.frames.dropped["engine_error"] >= 1
    assert set(summary.frames.dropped) <= {"engine_error", "shutdown"}
    assert got.ends[0]["state"] == "failed"
    assert no_threads_left()


def test_an_engine_that_fails_in_the_warm_up_is_told_at_once(
    film: str, endpoint: str, engine: Callable[[Engine], None]
) -> None:
    engine(FailingEngine(after=0))
    with pytest.raises(EngineError, match="fell off the bus"):
        run(NodeConfig(source=film, publish=endpoint))
    assert no_threads_left()


@pytest.mark.usefixtures("engine")
def test_a_source_that_ends_early_publishes_what_could_be_read(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ending = FakeSource(12, SourceError("promised 40 frames, 12 could be read"))
    monkeypatch.setattr(perception.stream, "open_source", lambda *_args, **_kwargs: ending)
    summary, got = run_with_reader(NodeConfig(source="fake", publish=endpoint, pace="max", wait_subscribers=1))
    assert got.frames == list(range(12))
    assert (summary.state, summary.reason, summary.exit_code) == ("failed", "source_error", 3)
    assert got.ends[0]["error"] == "promised 40 frames, 12 could be read"
    assert summary.frames.published == summary.frames.captured == 12


@pytest.mark.usefixtures("engine")
def test_a_defect_in_a_stage_is_not_hidden_and_leaves_nothing_behind(
    film: str, endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_args: object, **_kwargs: object) -> Callable[..., Iterator[object]]:
        def stage(scenes: Iterator[object]) -> Iterator[object]:
            yield next(iter(scenes))
            raise ZeroDivisionError

        return stage

    monkeypatch.setattr(perception.stages.judged, "objects", broken)
    with ThreadPoolExecutor(1) as pool:
        reader = pool.submit(receive, endpoint)
        with pytest.raises(ZeroDivisionError):
            run(NodeConfig(source=film, publish=endpoint, pace="max", wait_subscribers=1))
        got = reader.result(PATIENCE_S)
    assert got.frames == [0]
    assert got.ends[0]["state"] == "failed"
    assert no_threads_left()


class StuckEngine(FailingEngine):
    """Hangs, as a driver does, in the result of the first batch after the warm-up, and in ``close``."""

    def __init__(self, release: threading.Event) -> None:
        super().__init__(after=2)
        self._release = release

    def fail(self) -> bool:
        if super().fail():
            self._release.wait(60)
        return False

    def close(self) -> None:
        self._release.wait(60)


def test_a_stuck_engine_is_left_behind(film: str, endpoint: str, engine: Callable[[Engine], None]) -> None:
    release = threading.Event()
    engine(StuckEngine(release))
    interrupt = threading.Event()
    interrupted_at: list[float] = []

    def interrupt_when_stuck(status: Status) -> None:
        if status.ledger.captured and not interrupted_at:
            interrupted_at.append(time.monotonic())
            interrupt.set()

    config = NodeConfig(source=film, publish=endpoint, pace="max", wait_subscribers=1)
    with ThreadPoolExecutor(1) as pool:
        reader = pool.submit(receive, endpoint)
        summary = run(config, interrupt=interrupt, show=interrupt_when_stuck)
        took_s = time.monotonic() - interrupted_at[0]
        release.set()
        got = reader.result(PATIENCE_S)
    assert summary is not None
    assert summary.reason == "interrupted"
    assert summary.exit_code == 0
    assert "closing the engine" in summary.threads_left
    assert summary.frames.balanced
    assert summary.frames.in_flight == 0
    assert got.ends[0]["reason"] == "interrupted"
    assert took_s < ENDS_WITHIN_S


def test_what_the_engine_holds_when_the_node_is_ended_is_no_engine_error(film: str, endpoint: str) -> None:
    interrupt = threading.Event()

    def interrupt_when_computing(status: Status) -> None:
        if status.ledger.published:
            interrupt.set()

    config = NodeConfig(
        source=film, publish=endpoint, pace="max", wait_subscribers=1, engine="simulated://?infer_ms=300&slots=2"
    )
    with ThreadPoolExecutor(1) as pool:
        reader = pool.submit(receive, endpoint)
        summary = run(config, interrupt=interrupt, show=interrupt_when_computing)
        got = reader.result(PATIENCE_S)
    assert summary is not None
    assert got.ends[0]["reason"] == "interrupted"
    assert list(summary.frames.dropped) == ["shutdown"]
    assert summary.frames.balanced


@pytest.mark.parametrize("when", ["opening the source", "loading the model", "warming up the engine"])
def test_an_interruption_while_parts_are_opened_ends_at_once(
    film: str, endpoint: str, when: str, engine: Callable[[Engine], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    release = threading.Event()
    interrupt = threading.Event()

    def hang(*_args: object, **_kwargs: object) -> None:
        interrupt.set()
        release.wait(60)

    engine(recorded())
    attribute = {"opening the source": "open_streams", "loading the model": "open_node_engine"}.get(when, "warm_up")
    monkeypatch.setattr(perception.node, attribute, hang)
    started = time.monotonic()
    assert run(NodeConfig(source=film, publish=endpoint), interrupt=interrupt) is None
    assert time.monotonic() - started < ENDS_WITHIN_S
    release.set()
    assert no_threads_left()


def test_what_cannot_begin_is_told_and_freed(film: str, endpoint: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError):
        run(NodeConfig(source=film, publish=endpoint, model=str(tmp_path / "none.onnx"), engine="onnxruntime"))
    with ThreadPoolExecutor(1) as pool:
        interrupt, ready = threading.Event(), threading.Event()
        first = pool.submit(
            run,
            NodeConfig(source=film, publish=endpoint, engine="simulated://", wait_subscribers=1),
            interrupt=interrupt,
            show=lambda status: ready.set() if status.publish else None,
        )
        assert ready.wait(PATIENCE_S)
        with pytest.raises(EndpointError, match="in use"):
            run(NodeConfig(source=film, publish=endpoint, engine="simulated://"))
        interrupt.set()
        assert first.result(PATIENCE_S) is not None
    assert no_threads_left()


def test_a_model_that_refines_itself_cannot_take_the_place_of_one_that_is_refined(
    film: str, endpoint: str, engine: Callable[[Engine], None]
) -> None:
    with build(NodeConfig(source=film, publish=endpoint, refine="crf"), interrupt=threading.Event()) as node:
        itself = recorded()
        itself.spec = replace(itself.spec, card={CARD_KEY: "crf"})
        engine(itself)
        with pytest.raises(ConfigError, match="leave --refine out"):
            node.load("itself.onnx")
        assert itself.is_closed
