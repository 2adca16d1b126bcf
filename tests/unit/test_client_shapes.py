"""Received objects as run lengths, polygons, Cityscapes maps and source pixels."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scenes import make_scene

from perception.client.scene import ReceivedScene, scene_of
from perception.client.shapes import cityscapes_map, mask_in_source, mask_of_run_lengths, outlines, run_lengths
from perception.errors import WireError
from perception.ledger import LedgerEntry
from perception.types import Scene
from perception.wire.encode import Sender, content_of, frame_fields, frame_time, latency_us, pack_message
from perception.wire.header import ModelInfo
from perception.wire.message import decode

masks = hnp.arrays(np.bool_, st.tuples(st.integers(1, 12), st.integers(1, 12)))


def received(scene: Scene, *kinds: str) -> ReceivedScene:
    """A scene as a subscriber gets it."""
    sender, model = Sender("front", bytes(16), bytes(8)), ModelInfo("m", "", "fp32", "recorded")
    common = {**frame_fields(scene, model, "c", LedgerEntry(8, 7, 1, {})), "latency_us": latency_us(scene.latency)}
    times = frame_time(scene.frame.time, time.time_ns(), time.monotonic_ns())
    contents = [content_of(kind, scene, "tcp") for kind in kinds]
    return scene_of(
        [decode(pack_message(sender, content, seq=7, time=times, common=common)) for content in contents if content],
        frozenset(kinds),
    )


@given(masks)
def test_run_lengths_come_back_as_the_mask(mask: np.ndarray) -> None:
    encoded = run_lengths(mask)
    assert encoded["size"] == list(mask.shape)
    np.testing.assert_array_equal(mask_of_run_lengths(encoded), mask)
    np.testing.assert_array_equal(mask_of_run_lengths({**encoded, "counts": encoded["counts"].decode()}), mask)


@given(masks)
def test_run_lengths_are_those_of_pycocotools(mask: np.ndarray) -> None:
    coco = pytest.importorskip("pycocotools.mask", reason="needs pycocotools")
    expected = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
    assert run_lengths(mask) == {"size": list(expected["size"]), "counts": expected["counts"]}


def test_large_masks_are_written_as_pycocotools_writes_them() -> None:
    coco = pytest.importorskip("pycocotools.mask", reason="needs pycocotools")
    mask = np.zeros((720, 1280), np.bool_)
    mask[100:600, 300:900] = True
    mask[200:210, 350:700] = False
    encoded = run_lengths(mask)
    assert coco.area(encoded) == mask.sum()
    assert encoded["counts"] == coco.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"]


def test_known_run_lengths() -> None:
    assert run_lengths(np.zeros((2, 3), bool)) == {"size": [2, 3], "counts": b"6"}
    assert run_lengths(np.ones((2, 3), bool)) == {"size": [2, 3], "counts": b"06"}


@pytest.mark.parametrize("counts", [b"5", b"7", b"o", b"60", b"O8", b""])
def test_run_lengths_that_do_not_fill_their_mask_are_refused(counts: bytes) -> None:
    if counts == b"60":  # a run of nothing at the end is allowed
        assert not mask_of_run_lengths({"size": [2, 3], "counts": counts}).any()
        return
    with pytest.raises(WireError, match="do not fill"):
        mask_of_run_lengths({"size": [2, 3], "counts": counts})


def filled(rings: list[np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
    """Even-odd: a pixel is inside where a ray from its centre to the right meets an odd number of upright edges."""
    crossings = np.zeros(shape, int)
    y, x = np.indices(shape)
    for ring in rings:
        for (x0, y0), (x1, y1) in zip(ring, np.roll(ring, -1, axis=0)):
            if x0 == x1:
                crossings += (x < x0) & (min(y0, y1) < y) & (y < max(y0, y1))
    return crossings % 2 == 1


def area_of(ring: np.ndarray) -> float:
    """Positive where the ring runs clockwise as one sees it, y pointing down."""
    x, y = ring.T
    return float((x * np.roll(y, -1) - np.roll(x, -1) * y).sum() / 2)


@given(masks)
def test_outlines_enclose_exactly_the_mask(mask: np.ndarray) -> None:
    rings = outlines(mask)
    np.testing.assert_array_equal(filled(rings, mask.shape), mask)
    assert sum(map(area_of, rings)) == mask.sum()
    for ring in rings:
        steps = np.roll(ring, -1, axis=0) - ring
        assert ((steps == 0).sum(axis=1) == 1).all(), "along the edges of pixels"
        assert ((steps[:, 0] == 0) != np.roll(steps[:, 0] == 0, 1)).all(), "every point is a corner"


def test_holes_run_the_other_way_and_pixels_at_a_corner_are_apart() -> None:
    mask = np.ones((5, 5), bool)
    mask[2, 2] = False
    assert sorted(map(area_of, outlines(mask))) == [-1.0, 25.0]
    assert sorted(map(area_of, outlines(np.eye(3, dtype=bool)))) == [1.0, 1.0, 1.0]
    square = outlines(np.ones((2, 3), bool))[0]
    assert (square.min(), square.max(axis=0).tolist()) == (-0.5, [2.5, 1.5])


@pytest.mark.parametrize("overlapping", [False, True])
def test_a_cityscapes_map_numbers_objects_within_their_class(overlapping: bool) -> None:
    scene = make_scene(overlapping=overlapping)
    found = cityscapes_map(received(scene, "labels", "objects"))
    car, person = (received(scene, "objects").mask(k) for k in (1, 2))
    assert found.dtype == np.uint16
    assert (found[car] == 26000).all()
    assert (found[person] == 24000).all()
    assert set(np.unique(found[~(car | person)])) == {0, 7, 23}  # void, road, sky
    without = cityscapes_map(received(scene, "objects"))
    assert set(np.unique(without)) == {0, 24000, 26000}


def test_where_masks_overlap_the_surer_object_is_on_top() -> None:
    scene = make_scene(overlapping=True)
    instances = scene.instances
    assert instances is not None
    boxes = np.repeat(instances.boxes[:1], 2, axis=0)
    both = replace(instances, boxes=boxes, masks=(instances.masks or ())[:1] * 2, areas=instances.areas[[0, 0]])
    found = cityscapes_map(received(replace(scene, instances=both), "objects"))
    assert set(np.unique(found)) == {0, 26000}


def test_other_class_tables_and_missing_objects() -> None:
    scene = received(make_scene(), "labels", "objects")
    assert set(np.unique(cityscapes_map(scene, {13: 30}))) == {0, 30000}
    with pytest.raises(KeyError, match="not received"):
        cityscapes_map(received(make_scene(), "labels"))


@pytest.mark.parametrize("source_size", [(128, 64), (64, 32), (192, 96), (100, 37), (32, 16)])
def test_masks_in_the_source_cover_what_their_boxes_cover(source_size: tuple[int, int]) -> None:
    scene = received(make_scene(source_size=source_size), "objects")
    for object_id, (x0, y0, x1, y1) in zip((1, 2), scene.boxes_in_source()):
        mask = mask_in_source(scene, object_id)
        assert mask.shape == source_size[::-1]
        ys, xs = np.nonzero(mask)
        edges = np.array([xs.min() - 0.5, ys.min() - 0.5, xs.max() + 0.5, ys.max() + 0.5])
        assert (np.abs(edges - (x0, y0, x1, y1)) <= 0.5 + 1e-9).all(), "to the nearest pixel"
        assert mask.sum() == (xs.max() - xs.min() + 1) * (ys.max() - ys.min() + 1)
    with pytest.raises(KeyError):
        mask_in_source(scene, 3)
