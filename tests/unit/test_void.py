"""Regions and ego-hoods: what is void has no class, no confidence and no objects."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from scenes import make_scene

from perception.classes import CITYSCAPES
from perception.config import CameraConfig
from perception.errors import ConfigError
from perception.stages.objects import objects
from perception.stages.void import VoidMask, inside, void
from perception.types import VOID, Scene


def camera(**settings: object) -> CameraConfig:
    return CameraConfig(source="0", **settings)  # type: ignore[arg-type]


def through(scene: Scene, config: CameraConfig) -> Scene:
    stage = void({scene.frame.stream: VoidMask(config)})
    separated = objects(CITYSCAPES, min_area=1)(stage([replace(scene, instances=None)]))
    return next(separated)


def test_what_lies_outside_the_region_is_void_and_holds_no_objects() -> None:
    scene = make_scene(0)
    assert scene.segmentation is not None
    before = scene.segmentation.labels.copy()
    out = through(scene, camera(region=[0.5, 0, 1, 1]))  # the car is in the left half, the person in the right
    assert out.segmentation is not None
    assert (out.segmentation.labels[:, :32] == VOID).all()
    np.testing.assert_array_equal(out.segmentation.labels[:, 32:], before[:, 32:])
    assert out.segmentation.confidence is not None
    assert not out.segmentation.confidence[:, :32].any()
    assert out.instances is not None
    assert out.instances.class_ids.tolist() == [11]
    assert "void" in out.latency.spent_ns
    np.testing.assert_array_equal(scene.segmentation.labels, before, "a stage replaces, it never edits")


def test_the_hood_as_a_polygon_or_an_image_is_void(tmp_path: Path) -> None:
    image = np.zeros((180, 320), np.uint8)
    image[144:] = 255
    path = str(tmp_path / "hood.png")
    cv2.imwrite(path, image)
    for hood in ([0, 0.8, 1, 1], path):
        out = through(make_scene(0), camera(ego_hood=hood))
        assert out.segmentation is not None
        rows = (out.segmentation.labels == VOID).all(axis=1)
        assert rows.tolist() == [False] * 26 + [True] * 6  # 32 rows, of which the last fifth begins at 25.6


def test_what_is_void_belongs_to_no_object_of_the_model() -> None:
    scene = make_scene(0)
    assert scene.segmentation is not None
    ids = np.where(np.isin(scene.segmentation.labels, CITYSCAPES.thing_ids()), 1, 0).astype(np.int32)
    given = replace(scene.segmentation, ids=ids, id_scores=np.ones(1, np.float32))
    out = through(replace(scene, segmentation=given), camera(region=[0.5, 0, 1, 1]))
    assert out.segmentation is not None
    assert out.segmentation.ids is not None
    assert not out.segmentation.ids[:, :32].any()
    assert out.instances is not None
    assert out.instances.class_ids.tolist() == [11]
    assert ids[:, :32].any(), "a stage replaces, it never edits"


def test_a_stream_without_settings_passes_untouched() -> None:
    assert not VoidMask(camera())
    scene = make_scene(0)
    assert next(void({"other": VoidMask(camera(region=[0, 0, 0.1, 0.1]))})([scene])) is scene


def test_a_mask_follows_the_size_of_the_map() -> None:
    mask = VoidMask(camera(region=[0.25, 0, 1, 1]))
    assert mask.of((4, 8)).sum() == 4 * 2
    assert mask.of((8, 16)).sum() == 8 * 4
    assert mask.of((4, 8)) is mask.of((4, 8)), "drawn once"


def test_a_polygon_holds_the_pixels_whose_centres_it_holds() -> None:
    triangle = ((0.0, 0.0), (0.995, 0.0), (0.0, 0.995))  # no centre lies on its edge
    found = inside(triangle, (100, 100))
    y, x = np.mgrid[:100, :100] + 0.5
    np.testing.assert_array_equal(found, x + y < 99.5)


def test_an_image_that_cannot_be_read_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        VoidMask(camera(ego_hood=str(tmp_path / "none.png")))
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(ConfigError, match="is no image"):
        VoidMask(camera(ego_hood=str(tmp_path / "text.png")))
    (tmp_path / "empty.png").touch()
    with pytest.raises(ConfigError, match="is no image"):
        VoidMask(camera(ego_hood=str(tmp_path / "empty.png")))
