"""A whole node in this process, with real sockets: what it publishes and computes."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from nodes import PATIENCE_S, FakeSource, no_threads_left, receive, recorded, run_with_reader

import perception.node
import perception.stream
from perception.client import Subscriber
from perception.config import NodeConfig
from perception.engines.recorded import RecordedEngine
from perception.run import run
from perception.sources.source import Source
from perception.summary import Status


@pytest.fixture(autouse=True)
def engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(perception.node, "open_node_engine", lambda *_args, **_kwargs: recorded())


@pytest.fixture
def source(monkeypatch: pytest.MonkeyPatch) -> Callable[[Source], None]:
    """Give the nodes of this test that source."""
    return lambda made: monkeypatch.setattr(perception.stream, "open_source", lambda *_args, **_kwargs: made)


def test_recorded_answers_are_those_of_the_frames(film: str, endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The batches that warm an engine up take none of them away."""
    answers = np.broadcast_to(np.arange(30, dtype=np.uint8)[:, None, None], (30, 48, 80)).copy()
    monkeypatch.setattr(
        perception.node, "open_node_engine", lambda *_args, **_kwargs: RecordedEngine({"labels": answers})
    )

    def read() -> dict[int, int]:
        with Subscriber(endpoint, kinds=["labels"], timeout=PATIENCE_S) as subscriber:
            return {scene.number: int(scene.labels.max()) for scene in subscriber.scenes() if scene.labels is not None}

    with ThreadPoolExecutor(1) as pool:
        reader = pool.submit(read)
        run(NodeConfig(source=film, publish=endpoint, pace="max", wait_subscribers=1))
        assert reader.result(PATIENCE_S) == {number: number for number in range(30)}


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


def test_a_frame_limit_reads_no_more_than_it_publishes(film: str, endpoint: str) -> None:
    summary, got = run_with_reader(NodeConfig(source=film, publish=endpoint, pace="max", frames=7, wait_subscribers=1))
    assert got.frames == list(range(7))
    assert summary.reason == "frame_limit"
    assert summary.frames.captured == 7


def test_nothing_is_computed_while_nobody_listens(film: str, endpoint: str) -> None:
    summary = run(NodeConfig(source=film, publish=endpoint, pace="max"))
    assert summary is not None
    assert summary.frames.published == 30
    assert summary.computed == 0
    assert "infer" not in summary.stages_ms


def test_objects_that_nobody_wants_are_not_cut_out(film: str, endpoint: str) -> None:
    with ThreadPoolExecutor(1) as pool:

        def read() -> int:
            with Subscriber(endpoint, kinds=["labels"], timeout=PATIENCE_S) as subscriber:
                return sum(1 for message in subscriber if message.kind == "labels")

        reader = pool.submit(read)
        summary = run(NodeConfig(source=film, publish=endpoint, pace="max", wait_subscribers=1))
        assert reader.result(PATIENCE_S) == 30
    assert summary is not None
    assert "instances" not in summary.stages_ms


def test_a_camera_drops_old_frames_and_counts_them(endpoint: str, source: Callable[[Source], None]) -> None:
    source(FakeSource(2000, live=True))
    summary, got = run_with_reader(NodeConfig(source="fake", publish=endpoint, wait_subscribers=1))
    assert summary.frames.captured == 2000
    assert summary.frames.balanced
    assert summary.frames.published + summary.frames.dropped["stale"] == 2000
    assert got.frames == sorted(set(got.frames))
    assert got.frames[-1] == 1999


def test_of_a_camera_that_many_frames_are_published(endpoint: str, source: Callable[[Source], None]) -> None:
    source(FakeSource(10**9, live=True, pause_s=0.001))
    summary, _ = run_with_reader(NodeConfig(source="fake", publish=endpoint, frames=20, wait_subscribers=1))
    assert summary.reason == "frame_limit"
    assert summary.frames.published == 20
    assert summary.frames.balanced
    assert summary.frames.in_flight == 0
