"""A whole node in this process, with real sockets: what it publishes, and how it ends whatever fails."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
from clips import clip, steady

import perception.node
import perception.stages.judged
import perception.stream
from perception.client import Subscriber
from perception.config import NodeConfig
from perception.engines.engine import Batch, Engine, ModelSpec, Outputs, Pending
from perception.engines.recorded import RecordedEngine
from perception.errors import ConfigError, EndpointError, EngineError, ModelError, SourceError
from perception.ledger import Ledger
from perception.node import build
from perception.refinement.settings import CARD_KEY
from perception.run import run
from perception.sources.source import Source
from perception.summary import Status, Summary
from perception.types import CaptureTime, Frame

PATIENCE_S = 30.0  # of anything that should take milliseconds
ENDS_WITHIN_S = 20.0  # promised are 2; a machine that does ten other things gets more, a hang does not pass
LABELS = np.zeros((1, 48, 80), np.uint8)
LABELS[0, 10:30, 10:40] = 13  # one car


@pytest.fixture
def endpoint(tmp_path: Path) -> str:
    return f"ipc://{tmp_path}/node.ipc"


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(clip(tmp_path_factory.mktemp("film") / "drive.mp4", steady(30)))


def recorded() -> RecordedEngine:
    return RecordedEngine({"labels": LABELS, "confidence": np.full_like(LABELS, 200)})


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Callable[[Engine], None]:
    """Give the nodes of this test that engine."""

    def use(made: Engine) -> None:
        monkeypatch.setattr(perception.node, "open_engine", lambda *_args, **_kwargs: made)

    use(recorded())
    return use


@dataclass
class Received:
    frames: list[int] = field(default_factory=list)
    objects: int = 0
    lost: int = 0
    ends: list[dict[str, object]] = field(default_factory=list)


def receive(endpoint: str) -> Received:
    """Everything until the end of the stream."""
    got = Received()
    with Subscriber(endpoint, kinds=["labels", "objects", "event"], timeout=PATIENCE_S) as subscriber:
        for message in subscriber:
            if message.kind == "labels" and message.header.frame is not None:
                got.frames.append(message.header.frame.number)
            elif message.kind == "objects" and message.objects is not None:
                got.objects += len(message.objects.ids)
            elif message.kind == "event" and message.body["name"] == "end_of_stream":
                got.ends.append(dict(message.body["detail"]))
        got.lost = subscriber.tally.lost
    return got


def run_with_reader(config: NodeConfig) -> tuple[Summary, Received]:
    with ThreadPoolExecutor(1) as pool:
        reader: Future[Received] = pool.submit(receive, config.publish)
        summary = run(config)
        assert summary is not None
        return summary, reader.result(PATIENCE_S)


def no_threads_left() -> bool:
    names = {"decode front", "submit", "collect", "opening the source", "loading the model", "warming up the engine"}
    deadline = time.monotonic() + ENDS_WITHIN_S
    while any(thread.name in names for thread in threading.enumerate()):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


@pytest.mark.usefixtures("engine")
def test_every_frame_of_a_file_arrives_in_order(film: str, endpoint: str) -> None:
    shown: list[Status] = []
    config = NodeConfig(source=film, publish=endpoint, pace="max", wait_subscribers=1)
    with ThreadPoolExecutor(1) as pool:
        reader = pool.submit(receive, endpoint)
        summary = run(config, show=shown.append)
        got = reader.result(PATIENCE_S)
    assert summary is not None
    assert got.frames == list(range(30))
    assert got.objects == 30
    assert got.lost == 0
    assert (summary.state, summary.reason, summary.exit_code, summary.policy) == ("ended", "end_of_source", 0, "wait")
    assert summary.promised == summary.frames.captured == summary.frames.published == summary.computed == 30
    assert summary.frames.in_flight == 0
    assert {"decode", "prepare", "infer", "instances", "wait_publish", "publish"} <= set(summary.stages_ms)
    assert got.ends[0]["reason"] == "end_of_source"
    assert got.ends[0]["ledger"] == {"captured": 30, "published": 30, "in_flight": 0, "dropped": {}}
    assert "running" in {status.state for status in shown}
    assert (shown[-1].state, shown[-1].doing) == ("ended", "letting subscribers read the rest")
    assert no_threads_left()


@pytest.mark.usefixtures("engine")
def test_the_stages_and_queues_of_a_frame_add_up(film: str, endpoint: str) -> None:
    with ThreadPoolExecutor(1) as pool:

        def watch() -> list[float]:
            with Subscriber(endpoint, kinds=["labels"], timeout=PATIENCE_S) as subscriber:
                shares = []
                for message in subscriber:
                    info, times = message.header.frame, message.header.time
                    if message.kind == "labels" and info is not None and times.captured_mono_ns is not None:
                        spent = times.published_mono_ns - times.captured_mono_ns
                        shares.append(sum(info.latency_us.values()) * 1000 / spent)
                return shares

        reader = pool.submit(watch)
        run(NodeConfig(source=film, publish=endpoint, pace="max", wait_subscribers=1))
        shares = reader.result(PATIENCE_S)
    assert len(shares) == 30
    assert all(share == pytest.approx(1.0, abs=0.05) for share in shares)


@pytest.mark.usefixtures("engine")
def test_a_frame_limit_reads_no_more_than_it_publishes(film: str, endpoint: str) -> None:
    summary, got = run_with_reader(NodeConfig(source=film, publish=endpoint, pace="max", frames=7, wait_subscribers=1))
    assert got.frames == list(range(7))
    assert summary.reason == "frame_limit"
    assert summary.frames.captured == 7


@pytest.mark.usefixtures("engine")
def test_nothing_is_computed_while_nobody_listens(film: str, endpoint: str) -> None:
    summary = run(NodeConfig(source=film, publish=endpoint, pace="max"))
    assert summary is not None
    assert summary.frames.published == 30
    assert summary.computed == 0
    assert "infer" not in summary.stages_ms


def test_objects_that_nobody_wants_are_not_cut_out(film: str, endpoint: str, engine: Callable[[Engine], None]) -> None:
    engine(recorded())
    with ThreadPoolExecutor(1) as pool:

        def read() -> int:
            with Subscriber(endpoint, kinds=["labels"], timeout=PATIENCE_S) as subscriber:
                return sum(1 for message in subscriber if message.kind == "labels")

        reader = pool.submit(read)
        summary = run(NodeConfig(source=film, publish=endpoint, pace="max", wait_subscribers=1))
        assert reader.result(PATIENCE_S) == 30
    assert summary is not None
    assert "instances" not in summary.stages_ms


class FailingEngine:
    """Works for some batches (the warm-up counts), then raises."""

    name = "failing"
    slots = 2
    reason = "Fails on purpose."

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


class FakeSource:
    """Frames of one colour, then the given error, if any; with ``endless`` there is no end."""

    uri = "fake"
    fps: float | None = 25.0
    promised: int | None = None

    def __init__(self, count: int, error: Exception | None = None, *, live: bool = False, pause_s: float = 0.0) -> None:
        self.live = live
        self._count = count
        self._error = error
        self._pause_s = pause_s
        self._closed = threading.Event()

    def frames(self, ledger: Ledger) -> Iterator[Frame]:
        for number in range(self._count):
            if self._closed.wait(self._pause_s):
                return
            ledger.capture(number)
            yield Frame("front", number, CaptureTime.now(), np.full((48, 80, 3), number % 256, np.uint8))
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        self._closed.set()


@pytest.fixture
def source(monkeypatch: pytest.MonkeyPatch) -> Callable[[Source], None]:
    """Give the nodes of this test that source."""
    return lambda made: monkeypatch.setattr(perception.stream, "open_source", lambda *_args, **_kwargs: made)


@pytest.mark.usefixtures("engine")
def test_a_source_that_ends_early_publishes_what_could_be_read(endpoint: str, source: Callable[[Source], None]) -> None:
    source(FakeSource(12, SourceError("promised 40 frames, 12 could be read")))
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


@pytest.mark.usefixtures("engine")
def test_a_camera_drops_old_frames_and_counts_them(endpoint: str, source: Callable[[Source], None]) -> None:
    source(FakeSource(2000, live=True))
    summary, got = run_with_reader(NodeConfig(source="fake", publish=endpoint, wait_subscribers=1))
    assert summary.frames.captured == 2000
    assert summary.frames.balanced
    assert summary.frames.published + summary.frames.dropped["stale"] == 2000
    assert got.frames == sorted(set(got.frames))
    assert got.frames[-1] == 1999


@pytest.mark.usefixtures("engine")
def test_of_a_camera_that_many_frames_are_published(endpoint: str, source: Callable[[Source], None]) -> None:
    source(FakeSource(10**9, live=True, pause_s=0.001))
    summary, _ = run_with_reader(NodeConfig(source="fake", publish=endpoint, frames=20, wait_subscribers=1))
    assert summary.reason == "frame_limit"
    assert summary.frames.published == 20
    assert summary.frames.balanced
    assert summary.frames.in_flight == 0


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
    attribute = {"opening the source": "open_streams", "loading the model": "open_engine"}.get(when, "warm_up")
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
