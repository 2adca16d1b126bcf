"""What a model says about objects, through a whole node to a subscriber."""

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
from perception.stages.calibration import calibrated

PERSON, CAR = 11, 13


def engine_with_ids() -> RecordedEngine:
    """Two cars that touch, and a person whom no centre claims."""
    labels = np.zeros((1, 48, 80), np.uint8)
    labels[0, 10:30, 10:50], labels[0, 35:45, 60:66] = CAR, PERSON
    ids = np.zeros((1, 48, 80), np.int32)
    ids[0, 10:30, 10:30], ids[0, 10:30, 30:50] = 5, 2
    scores = np.zeros((1, 8), np.float32)
    scores[0, [4, 1]] = 0.5, 1.0
    sure = np.full_like(labels, 204)
    return RecordedEngine({"labels": labels, "confidence": sure, "ids": ids, "id_scores": scores})


def test_a_subscriber_gets_the_objects_of_the_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(perception.node, "open_node_engine", lambda *_args, **_kwargs: engine_with_ids())
    film = clip(tmp_path / "drive.mp4", steady(5))
    config = NodeConfig(
        source=str(film), publish=f"ipc://{tmp_path}/node.ipc", pace="max", wait_subscribers=1, min_object_area=1
    )

    def receive() -> list[ReceivedScene]:
        with Subscriber(config.publish, kinds=["labels", "objects"], timeout=30) as subscriber:
            return list(subscriber.scenes())

    with ThreadPoolExecutor(1) as pool:
        reader = pool.submit(receive)
        run(config)
        scenes = reader.result(30)
    assert len(scenes) == 5
    for scene in scenes:
        objects, labels = scene.objects, scene.labels
        assert objects is not None
        assert labels is not None
        assert objects.class_ids.tolist() == [CAR, CAR, PERSON]
        assert objects.scores == pytest.approx(calibrated(np.array([0.8, 0.4, 0.08]), objects.areas))
        assert objects.boxes.tolist() == [[30, 10, 50, 30], [10, 10, 30, 30], [60, 35, 66, 45]]
        for row, class_id in zip(objects.ids, objects.class_ids):
            assert (labels[scene.mask(int(row))] == class_id).all()
