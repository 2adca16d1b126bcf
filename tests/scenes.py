"""Scenes made by hand, for every test that publishes something. Deterministic in the frame number."""

from __future__ import annotations

import numpy as np

from perception.classes import CITYSCAPES
from perception.engines.engine import ModelSpec
from perception.types import CaptureTime, Frame, Instances, Latency, Scene, Segmentation

SPEC = ModelSpec("hand-made", "ab" * 32, "fp32", CITYSCAPES, ("labels", "confidence"), card={"licence": "none"})


def make_scene(
    number: int = 0,
    *,
    stream: str = "front",
    size: tuple[int, int] = (64, 32),
    source_size: tuple[int, int] = (128, 64),
    overlapping: bool = False,
    time: CaptureTime | None = None,
    confidence: bool = True,
) -> Scene:
    """Road below, sky above, a car that moves with the frame number and a person before it."""
    width, height = size
    labels = np.full((height, width), 10, np.uint8)
    labels[height // 2 :] = 0
    labels[0, 0] = 255
    boxes = []
    ids = np.zeros((height, width), np.uint16)
    for object_id, (class_id, left) in enumerate([(13, 4 + number % 8), (11, 40)], start=1):
        box = [left, height // 4, left + width // 8, height // 4 + height // 2]
        labels[box[1] : box[3], box[0] : box[2]] = class_id
        ids[box[1] : box[3], box[0] : box[2]] = object_id
        boxes.append(box)
    areas = np.array([(ids == k).sum() for k in (1, 2)], np.int32)
    crops = tuple(ids[y0:y1, x0:x1] == k for k, (x0, y0, x1, y1) in enumerate(boxes, start=1))
    instances = Instances(
        class_ids=np.array([13, 11], np.uint8),
        scores=np.array([0.75, 0.5], np.float32),
        boxes=np.array(boxes, np.int32),
        areas=areas,
        ids=None if overlapping else ids,
        masks=crops if overlapping else None,
    )
    sure = (np.arange(height * width, dtype=np.uint32) * 2654435761 >> 24).astype(np.uint8).reshape(height, width)
    captured = time or CaptureTime.now()
    image = np.full((source_size[1], source_size[0], 3), number % 256, np.uint8)
    return Scene(
        Frame(stream, number, captured, image),
        Latency(captured.captured_mono_ns),
        Segmentation(labels, sure if confidence else None),
        instances,
    )
