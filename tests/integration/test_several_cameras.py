"""Several recordings in one node over a real socket: numbers, sets, batches, regions, calibration and summaries."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from clips import clip, steady

import perception.node
from perception.client import Subscriber
from perception.config import CameraConfig, NodeConfig
from perception.engines.engine import Batch
from perception.engines.recorded import RecordedEngine
from perception.run import run
from perception.summary import Summary
from perception.types import VOID
from perception.wire.message import Message

PATIENCE_S = 30.0
LABELS = np.zeros((1, 48, 80), np.uint8)
LABELS[0, 10:30, 10:40] = 13  # one car, on nothing but road


class Counting(RecordedEngine):
    """Notes how many frames each run of it had."""

    on_gpu = True

    def __init__(self) -> None:
        super().__init__({"labels": LABELS, "confidence": np.full_like(LABELS, 200)})
        self.batches: list[tuple[int, ...]] = []

    def submit(self, frames: Batch) -> Any:
        self.batches.append(frames.shape)
        return super().submit(frames)


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Counting:
    made = Counting()
    monkeypatch.setattr(perception.node, "open_node_engine", lambda *_args, **_kwargs: made)
    return made


def received(config: NodeConfig, streams: list[str] | None = None) -> tuple[list[Message], Summary, int]:
    """All messages of a node, its summary, and how many messages were lost."""
    messages: list[Message] = []
    lost: list[int] = []

    def read() -> None:
        with Subscriber(config.publish, streams=streams, kinds=None, timeout=PATIENCE_S) as subscriber:
            messages.extend(subscriber)
            lost.append(subscriber.tally.lost)

    reader = threading.Thread(target=read)
    reader.start()
    summary = run(config)
    reader.join(PATIENCE_S)
    assert not reader.is_alive()
    assert summary is not None
    return messages, summary, lost[0]


def of(messages: list[Message], stream: str, kind: str) -> list[Message]:
    return [message for message in messages if (message.stream, message.kind) == (stream, kind)]


def two(tmp_path: Path, **settings: Any) -> NodeConfig:
    """A short and a longer recording, their frames 4 ms apart."""
    front = clip(tmp_path / "front.mp4", steady(6))
    rear = clip(tmp_path / "rear.mkv", [at + 4 for at in steady(10)], size=(320, 192))
    cameras = CameraConfig(source=str(front), stream="front"), CameraConfig(source=str(rear), stream="rear")
    return NodeConfig(
        **{"camera": cameras, "publish": f"ipc://{tmp_path}/node", "pace": "max", "wait_subscribers": 1, **settings}
    )


def test_each_stream_has_its_own_numbers_ledger_and_end(engine: Counting, tmp_path: Path) -> None:
    messages, summary, lost = received(two(tmp_path))
    assert lost == 0
    for stream, count in (("front", 6), ("rear", 10)):
        labels = of(messages, stream, "labels")
        assert [message.frame for message in labels] == list(range(count))
        assert [message.header.seq for message in labels] == list(range(count))
        assert all(message.header.frame.ledger.balanced for message in labels if message.header.frame)
        (end,) = of(messages, stream, "event")
        assert end.body["detail"]["reason"] == "end_of_source"
        assert end.body["detail"]["ledger"] == {"captured": count, "published": count, "in_flight": 0, "dropped": {}}
        assert end is [message for message in messages if message.stream == stream][-1]
        assert of(messages, stream, "status")[-1].body["state"] == "ended"
    # The shorter one ends while the other goes on.
    position = {stream: messages.index(of(messages, stream, "event")[0]) for stream in ("front", "rear")}
    assert position["front"] < position["rear"]
    assert summary.frames.published == 16
    assert summary.promised is None, "Matroska promises no number"
    assert [(stream.stream, stream.frames.published) for stream in summary.streams] == [("front", 6), ("rear", 10)]
    assert engine.is_closed


@pytest.mark.usefixtures("engine")
def test_sets_and_their_error_are_published(tmp_path: Path) -> None:
    messages, _, _ = received(two(tmp_path, pair_tolerance=0.01))
    sets: dict[int, list[tuple[str, int, float]]] = defaultdict(list)
    for message in messages:
        if message.kind == "labels":
            pair = message.header.fields.submap("pair")
            assert pair.integer("tolerance_us") == 10_000
            assert message.stream in pair.items("streams")
            sets[pair.integer("set")].append((message.stream, int(message.frame or 0), pair.integer("error_us")))
    assert [sets[k] for k in range(6)] == [[("front", k, 0), ("rear", k, 4000)] for k in range(6)]
    assert [sets[k] for k in range(6, 10)] == [[("rear", k, 0)] for k in range(6, 10)]


@pytest.mark.usefixtures("engine")
def test_pictures_without_times_come_beside_a_video_as_they_would_be_played(tmp_path: Path) -> None:
    for k in range(3):
        cv2.imwrite(str(tmp_path / f"{k}.png"), np.zeros((96, 160, 3), np.uint8))
    video = CameraConfig(source=str(clip(tmp_path / "rear.mp4", steady(6, 50))), stream="rear")
    folder = CameraConfig(source=str(tmp_path), stream="folder")
    messages, _, _ = received(two(tmp_path, camera=(video, folder)))
    sets: dict[int, list[tuple[str, int]]] = defaultdict(list)
    for message in messages:
        if message.kind == "labels":
            sets[message.header.fields.submap("pair").integer("set")].append((message.stream, int(message.frame or 0)))
    assert [sets[2 * k] for k in range(3)] == [[("rear", 2 * k), ("folder", k)] for k in range(3)]
    assert [sets[2 * k + 1] for k in range(3)] == [[("rear", 2 * k + 1)] for k in range(3)]


@pytest.mark.usefixtures("engine")
def test_a_limit_is_what_is_expected_of_each_stream(tmp_path: Path) -> None:
    seen: list[int | None] = []
    run(two(tmp_path, frames=4, wait_subscribers=0), show=lambda status: seen.append(status.expected))
    assert seen[-1] == 8, "of 6 frames, and of one that promises no number"


@pytest.mark.usefixtures("engine")
def test_a_single_camera_is_in_no_set(tmp_path: Path) -> None:
    film = clip(tmp_path / "front.mp4", steady(3))
    messages, _, _ = received(
        NodeConfig(source=str(film), publish=f"ipc://{tmp_path}/node", pace="max", wait_subscribers=1)
    )
    assert not any(message.header.fields.has("pair") for message in messages)


@pytest.mark.parametrize(("batch", "runs"), [(None, {2: 6, 1: 4}), (1, {1: 16})])
def test_a_set_of_one_network_size_is_one_run_of_the_network(
    batch: int | None, runs: dict[int, int], engine: Counting, tmp_path: Path
) -> None:
    received(two(tmp_path, batch=batch, size=(96, 64)))
    after_warm_up = engine.batches[engine.slots :]
    assert Counter(shape[0] for shape in after_warm_up) == runs
    assert {shape[1:] for shape in after_warm_up} == {(64, 96, 3)}


@pytest.mark.usefixtures("engine")
def test_what_nobody_wants_of_a_camera_is_not_computed(engine: Counting, tmp_path: Path) -> None:
    messages, summary, _ = received(two(tmp_path), ["rear"])
    assert {message.stream for message in messages} == {"rear"}
    assert summary.computed == 10
    assert len(engine.batches) - engine.slots == 10
    assert summary.frames.published == 16


@pytest.mark.usefixtures("engine")
def test_calibration_region_and_summary_of_each_camera(tmp_path: Path) -> None:
    film = str(clip(tmp_path / "front.mp4", steady(3)))
    half: Any = [0, 0.5, 1, 1]  # the car ends at row 30 of 48, so a stripe of it stays
    calibration: Any = {"k": [100, 100, 80, 48], "distortion": [0.1, 0, 0, 0]}
    front = CameraConfig(source=film, stream="front", region=half, calibration=calibration)
    rear = CameraConfig(source=film, stream="rear", ego_hood=[0, 0, 1, 1])  # type: ignore[arg-type]
    config = NodeConfig(camera=(front, rear), publish=f"ipc://{tmp_path}/node", pace="max", wait_subscribers=1)
    messages, _, _ = received(config)
    assert of(messages, "front", "meta")[-1].body["camera"] == {
        "k": [[100.0, 0.0, 80.0], [0.0, 100.0, 48.0], [0.0, 0.0, 1.0]],
        "distortion": [0.1, 0.0, 0.0, 0.0],
        "mount": None,
    }
    assert of(messages, "rear", "meta")[-1].body["camera"] is None
    labels = of(messages, "front", "labels")[0].array("labels")
    assert (labels[:24] == VOID).all()
    np.testing.assert_array_equal(labels[24:], LABELS[0, 24:])
    table = of(messages, "front", "objects")[0].objects
    assert table is not None
    assert table.boxes.tolist() == [[10, 24, 40, 30]]
    summary = of(messages, "front", "summary")[0].body
    assert summary["share"] == pytest.approx({0: (80 * 24 - 30 * 6) / (80 * 48), 13: 30 * 6 / (80 * 48)}, abs=1e-5)
    assert len(summary["nearest"]) == 32
    assert set(summary["nearest"]) == {None, 59}  # the source is twice as large: rows 58 and 59 are row 29 of the map
    assert len(summary["drivable"]) >= 4
    dark = of(messages, "rear", "summary")[0].body
    assert dark == {"share": {}, "nearest": [None] * 32, "drivable": []}
    assert (of(messages, "rear", "labels")[0].array("labels") == VOID).all()
    empty = of(messages, "rear", "objects")[0].objects
    assert empty is not None
    assert len(empty.ids) == 0
