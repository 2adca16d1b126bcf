"""A detector's objects from the network's boxes to a subscriber's masks, through a node and a real socket."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from clips import clip, steady

import perception.node
from perception.client import ReceivedScene, Subscriber
from perception.config import NodeConfig
from perception.engines.recorded import RecordedEngine
from perception.run import run

PATIENCE_S = 60.0
PERSON, CAR = 11, 13
SIZE = (64, 32)  # of the network; maps are half of it


def answers() -> RecordedEngine:
    """A car, and a person whose box lies half over it; a third row is empty."""
    masks = np.ones((1, 3, 4, 4), np.float32)
    masks[0, 1, 2:] = 0.0  # the person's legs are hidden
    return RecordedEngine(
        {
            "labels": np.zeros((1, 16, 32), np.uint8),
            "boxes": np.array([[[8, 4, 32, 24], [24, 0, 40, 32], [0, 0, 0, 0]]], np.float32),
            "scores": np.array([[0.9, 0.6, 0.0]], np.float32),
            "class_ids": np.array([[CAR, PERSON, CAR]], np.int32),
            "masks": masks,
        }
    )


def scenes_of(endpoint: str) -> list[ReceivedScene]:
    with Subscriber(endpoint, kinds=["labels", "objects", "event"], timeout=PATIENCE_S) as subscriber:
        return list(subscriber.scenes())


@pytest.mark.parametrize("track", [True, False])
def test_overlapping_masks_reach_a_subscriber(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, track: bool) -> None:
    monkeypatch.setattr(perception.node, "open_node_engine", lambda *_args, **_kwargs: answers())
    film = clip(tmp_path / "drive.mp4", steady(5))
    endpoint = f"ipc://{tmp_path}/node.ipc"
    config = NodeConfig(
        source=str(film), publish=endpoint, pace="max", wait_subscribers=1, size=SIZE, min_object_area=1, track=track
    )
    with ThreadPoolExecutor(1) as pool:
        reader = pool.submit(scenes_of, endpoint)
        run(config)
        scenes = reader.result(PATIENCE_S)
    assert [scene.number for scene in scenes] == list(range(5))
    for scene in scenes:
        objects = scene.objects
        assert objects is not None
        assert scene.ids is None  # what overlaps has no ids map
        assert objects.class_ids.tolist() == [CAR, PERSON]
        assert objects.boxes.tolist() == [[4, 2, 16, 12], [12, 0, 20, 8]]
        car, person = scene.mask(1), scene.mask(2)
        assert car.shape == (16, 32)
        assert (car.sum(), person.sum()) == tuple(objects.areas) == (120, 64)
        assert (car & person).sum() == 4 * 6  # both are whole where they overlap
        assert all((number is not None) == track for number in objects.tracks)
    assert len({tuple(scene.objects.tracks) for scene in scenes if scene.objects is not None}) == 1
