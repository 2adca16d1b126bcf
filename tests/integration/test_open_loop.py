"""A node to which frames come at a rate of their own, faster than it can take them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from clips import clip, steady

from perception.client import Subscriber
from perception.config import NodeConfig, Policy
from perception.run import run
from perception.summary import Summary

PATIENCE_S = 30.0
FRAMES, RATE, SERVICE_MS = 30, 100.0, 40
PERIOD_NS = 10_000_000


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(clip(tmp_path_factory.mktemp("film") / "drive.mp4", steady(FRAMES)))  # with B-frames, 25 a second


def overloaded(film: str, endpoint: str, policy: Policy) -> tuple[Summary, dict[int, tuple[int, int]], set[str]]:
    """The summary; captured and published by frame number, monotonic ns; and the stages and queues of any frame."""

    def receive() -> tuple[dict[int, tuple[int, int]], set[str]]:
        times: dict[int, tuple[int, int]] = {}
        stages: set[str] = set()
        with Subscriber(endpoint, kinds=["labels"], timeout=PATIENCE_S) as subscriber:
            for scene in subscriber.scenes():
                at = scene.header.time
                assert at.captured_mono_ns is not None
                times[scene.number] = at.captured_mono_ns, at.published_mono_ns
                stages |= set(scene.info.latency_us)
        return times, stages

    with ThreadPoolExecutor(1) as pool:
        reader = pool.submit(receive)
        engine = f"simulated://?infer_ms={SERVICE_MS}&slots=1"
        summary = run(
            NodeConfig(source=film, publish=endpoint, rate=RATE, policy=policy, wait_subscribers=1, engine=engine)
        )
        assert summary is not None
        return summary, *reader.result(PATIENCE_S)


@pytest.mark.parametrize("policy", ["wait", "drop_oldest"])
def test_frames_are_charged_from_when_they_were_due(film: str, tmp_path: Path, policy: Policy) -> None:
    summary, times, stages = overloaded(film, f"ipc://{tmp_path}/node.ipc", policy)
    frames = summary.frames
    assert summary.exit_code == 0
    assert (frames.captured, frames.in_flight) == (FRAMES, 0)
    assert frames.published == len(times)
    first, last = min(times), max(times)
    assert all(at[0] - times[first][0] == (k - first) * PERIOD_NS for k, at in times.items())
    if policy == "wait":
        assert (len(times), frames.dropped) == (FRAMES, {})
        # The engine serves one frame after the other, so the last is served no sooner than this.
        served_ns = FRAMES * SERVICE_MS * 1_000_000
        assert times[last][1] - times[last][0] > served_ns - FRAMES * PERIOD_NS
        assert "wait_source" in stages
    else:
        assert frames.dropped == {"stale": FRAMES - len(times)}
        assert 0 < len(times) < FRAMES
