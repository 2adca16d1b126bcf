"""Overlays, checked by pixels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scenes import make_scene

from perception.classes import CITYSCAPES, table_from_rows
from perception.errors import ConfigError, ShapeError
from perception.geometry import resize_affine
from perception.types import VOID, Image, Instances
from perception.view.draw import draw
from perception.view.footer import classes_in, clock, legend_entry, stat_words
from perception.view.layers import LAYERS, Layer, Style, layers_from_text
from perception.view.meter import Meter, Stats
from perception.view.overlay import box_in_frame, draw_overlay, nearest, vivid
from perception.view.picture import Picture, picture_from_scene
from perception.view.text import plate, text_height

CAR, SKY = 13, 10


def grey(width: int = 640, height: int = 400) -> Image:
    return np.full((height, width, 3), 100, np.uint8)


def style(*layers: Layer, alpha: float = 0.5) -> Style:
    return Style(layers=frozenset(layers), alpha=alpha)


def one_car(box: tuple[int, int, int, int], shape: tuple[int, int], track: int | None = None) -> Instances:
    x0, y0, x1, y1 = box
    ids = np.zeros(shape, np.uint16)
    ids[y0:y1, x0:x1] = 1
    tracks = None if track is None else np.array([track], np.int64)
    area = np.array([(x1 - x0) * (y1 - y0)], np.int32)
    return Instances(
        np.array([CAR], np.uint8), np.array([0.91], np.float32), np.array([box], np.int32), area, ids, tracks=tracks
    )


def overlaid(picture: Picture, chosen: Style) -> Image:
    canvas = picture.image.copy()
    draw_overlay(canvas, picture, chosen)
    return canvas


def changed(before: Image, after: Image) -> np.ndarray:
    return (before != after).any(axis=2)


def test_the_class_colour_appears_where_the_labels_say_and_nowhere_else() -> None:
    labels = np.full((400, 640), VOID, np.uint8)
    labels[50:90, 100:200] = SKY
    labels[300:, 600:] = 77  # an id that the table does not know
    image = grey()
    drawn = overlaid(Picture(image, labels), style("labels"))
    colour = CITYSCAPES.palette_bgr()[SKY].astype(int)
    assert np.abs(drawn[50:90, 100:200].astype(int) - (100 + colour) / 2).max() <= 1
    outside = changed(image, drawn)
    outside[50:90, 100:200] = False
    assert not outside.any()


def test_alpha_one_is_the_palette_and_alpha_zero_the_frame() -> None:
    labels = np.full((100, 160), SKY, np.uint8)
    assert (overlaid(Picture(grey(), labels), style("labels", alpha=1.0)) == CITYSCAPES.palette_bgr()[SKY]).all()
    assert not changed(grey(), overlaid(Picture(grey(), labels), style("labels", alpha=0.0))).any()
    with pytest.raises(ConfigError, match="alpha must lie in"):
        Style(alpha=1.5)


@given(
    map_size=st.tuples(st.integers(1, 40), st.integers(1, 40)), size=st.tuples(st.integers(1, 90), st.integers(1, 90))
)
def test_nearest_is_the_definition(map_size: tuple[int, int], size: tuple[int, int]) -> None:
    labels = (np.arange(map_size[0] * map_size[1]) % 251).astype(np.uint8).reshape(map_size[1], map_size[0])
    grown = nearest(labels, resize_affine(map_size, size), *size)
    columns = [int((2 * x + 1) * map_size[0] // (2 * size[0])) for x in range(size[0])]
    rows = [int((2 * y + 1) * map_size[1] // (2 * size[1])) for y in range(size[1])]
    assert (grown == labels[np.ix_(rows, columns)]).all()


def test_a_map_of_a_part_of_the_frame_leaves_the_rest_void() -> None:
    grown = nearest(np.full((10, 20), SKY, np.uint8), (2.0, 0, 30.5, 0, 2.0, 40.5), 100, 80)
    ys, xs = np.nonzero(grown == SKY)
    assert (xs.min(), xs.max() + 1, ys.min(), ys.max() + 1) == (30, 70, 40, 60)
    assert set(np.unique(grown)) == {SKY, VOID}


def test_a_turned_map_is_turned() -> None:
    labels = np.full((3, 5), SKY, np.uint8)
    labels[0] = CAR
    turned = nearest(labels, (0.0, -1.0, 2.0, 1.0, 0.0, 0.0), 3, 5)  # a quarter turn: the first row becomes a column
    assert (turned[:, 2] == CAR).all()
    assert (turned[:, :2] == SKY).all()


def test_borders_between_classes_are_darkened_where_there_are_no_objects() -> None:
    labels = np.full((400, 640), SKY, np.uint8)
    labels[:, 320:] = CAR
    marked = changed(grey(), overlaid(Picture(grey(), labels), style("outlines")))
    columns = np.flatnonzero(marked.all(axis=0))
    assert 320 in columns
    assert set(columns) <= {319, 320, 321}
    assert not marked[:, :318].any()


@pytest.mark.parametrize("map_size", [(640, 400), (320, 200), (160, 100)])
def test_outlines_lie_on_the_border_of_the_object(map_size: tuple[int, int]) -> None:
    scale = 640 // map_size[0]
    box = (200 // scale, 120 // scale, 400 // scale, 280 // scale)
    image = grey()
    picture = Picture(image, objects=one_car(box, (map_size[1], map_size[0])))
    ys, xs = np.nonzero(changed(image, overlaid(picture, style("outlines"))))
    inset = np.minimum.reduce([xs - 200, 399 - xs, ys - 120, 279 - ys])  # >= 0 inside the object
    assert inset.min() >= -1
    assert inset.max() <= scale + 1


def test_what_a_model_doubts_is_not_drawn() -> None:
    car = one_car((10, 10, 60, 40), (100, 160))
    shown = overlaid(Picture(grey(), objects=car), style("outlines", "boxes", "names"))
    assert changed(grey(), shown).any()
    doubted = replace(car, scores=np.full(1, 0.29, np.float32))
    picture = Picture(grey(), objects=doubted)
    assert not changed(grey(), overlaid(picture, style("outlines", "boxes", "names"))).any()
    all_shown = replace(style("outlines"), min_score=0.0)
    assert changed(grey(), overlaid(picture, all_shown)).any()


def test_masks_that_overlap_are_outlined_like_an_ids_map() -> None:
    objects = one_car((10, 10, 60, 40), (100, 160))
    cropped = Instances(
        objects.class_ids, objects.scores, objects.boxes, objects.areas, masks=(np.ones((30, 50), np.bool_),)
    )
    affine = resize_affine((160, 100), (640, 400))
    expected = overlaid(Picture(grey(), objects=objects), style("outlines"))
    assert (overlaid(Picture(grey(), objects=cropped, objects_to_image=affine), style("outlines")) == expected).all()
    with pytest.raises(ShapeError, match="objects_to_image"):
        Picture(grey(), objects=cropped)


@pytest.mark.parametrize("count", [0, 2])
def test_a_frame_of_a_model_whose_masks_overlap_is_shown_with_whatever_is_found(count: int) -> None:
    scene = make_scene(0, overlapping=True)
    some = scene.instances
    assert some is not None
    assert some.masks is not None
    found = Instances(
        some.class_ids[:count], some.scores[:count], some.boxes[:count], some.areas[:count], masks=some.masks[:count]
    )
    picture = picture_from_scene(replace(scene, instances=found))
    assert picture.objects_to_image == (2.0, 0.0, 0.5, 0.0, 2.0, 0.5)
    assert changed(picture.image, overlaid(picture, style("outlines"))).any() == bool(count)


def test_boxes_are_scaled_from_map_to_frame() -> None:
    picture = Picture(grey(), objects=one_car((10, 20, 30, 45), (100, 160)))
    ys, xs = np.nonzero(changed(grey(), overlaid(picture, style("boxes"))))
    assert (xs.min(), ys.min(), xs.max(), ys.max()) == (40, 80, 119, 179)
    assert not changed(grey(), overlaid(picture, style("boxes")))[82:178, 42:118].any()


def test_box_edges_follow_an_offset_affine() -> None:
    assert box_in_frame(np.array([0, 0, 4, 4], np.int32), (2.0, 0, 10.5, 0, 3.0, 5.0)) == (10, 4, 18, 16)


@pytest.mark.parametrize(
    "box",
    [(0, 0, 60, 40), (580, 0, 640, 60), (0, 360, 70, 400), (590, 350, 640, 400), (0, 0, 640, 400)],
    ids=["top left", "top right", "bottom left", "bottom right", "whole frame"],
)
def test_names_are_whole_wherever_the_object_is(box: tuple[int, int, int, int]) -> None:
    picture = Picture(grey(), objects=one_car(box, (400, 640), track=17))
    drawn = overlaid(picture, style("names"))
    patch = plate("car 91% #17", text_height(640, 400), vivid(CITYSCAPES, CAR))
    height, width = patch.shape[:2]
    ys, xs = np.nonzero(changed(grey(), drawn))
    x, y = xs.min(), ys.min()
    assert (drawn[y : y + height, x : x + width] == patch).all()


def test_names_do_not_cover_each_other() -> None:
    count = 12
    boxes = np.array([(100 + 4 * k, 150 + 3 * k, 260 + 4 * k, 260 + 3 * k) for k in range(count)], np.int32)
    masks = tuple(np.ones((110, 160), np.bool_) for _ in range(count))
    scores = np.linspace(0.5, 0.94, count).astype(np.float32)
    objects = Instances(np.full(count, CAR, np.uint8), scores, boxes, np.full(count, 17600, np.int32), masks=masks)
    picture = Picture(grey(), objects=objects, objects_to_image=(1, 0, 0, 0, 1, 0))
    drawn = overlaid(picture, style("names"))
    patches = [plate(f"car {s:.0%}", text_height(640, 400), vivid(CITYSCAPES, CAR)) for s in scores]
    written = [p for p in patches if _contains(drawn, p)]
    assert len(written) >= 2
    assert changed(grey(), drawn).sum() == sum(p.shape[0] * p.shape[1] for p in written)


def _contains(image: Image, patch: Image) -> bool:
    height, width = patch.shape[:2]
    windows = np.lib.stride_tricks.sliding_window_view(image[..., 1], (height, width))
    return bool((windows == patch[..., 1]).all(axis=(2, 3)).any())


def test_a_tiny_object_gets_neither_name_nor_box() -> None:
    picture = Picture(grey(), objects=one_car((100, 100, 103, 103), (400, 640)))
    assert not changed(grey(), overlaid(picture, style("names", "boxes"))).any()


def test_an_object_too_small_for_its_name_keeps_its_outline_alone() -> None:
    picture = Picture(grey(), objects=one_car((100, 100, 120, 120), (400, 640)))
    outlined = overlaid(picture, style("outlines"))
    assert changed(grey(), outlined).any()
    assert (overlaid(picture, style("outlines", "boxes", "names")) == outlined).all()
    assert changed(grey(), overlaid(picture, style("boxes"))).any()


@given(class_id=st.sampled_from([row.id for row in CITYSCAPES.rows]))
def test_lines_stand_out_on_dark_footage(class_id: int) -> None:
    blue, green, red = vivid(CITYSCAPES, class_id)
    assert 0.114 * blue + 0.587 * green + 0.299 * red > 100


def test_the_legend_lists_exactly_the_classes_present() -> None:
    labels = np.full((100, 160), VOID, np.uint8)
    labels[:10], labels[10:20] = SKY, CAR
    drawn = draw(Picture(grey(), labels), Style())
    text = text_height(640, 400)
    found = {row.id for row in CITYSCAPES.rows if _contains(drawn[400:], legend_entry(CITYSCAPES, row.id, text))}
    assert found == {SKY, CAR}
    dimmed = {
        r.id for r in CITYSCAPES.rows if _contains(drawn[400:], legend_entry(CITYSCAPES, r.id, text, present=False))
    }
    assert dimmed == {row.id for row in CITYSCAPES.rows} - found


def test_a_large_class_table_still_fits() -> None:
    table = table_from_rows([(f"kind {k}", (k, 255 - k, 128), False) for k in range(200)])
    labels = np.full((100, 160), 150, np.uint8)
    drawn = draw(Picture(grey(), labels), Style(table=table))
    assert _contains(drawn[400:], legend_entry(table, 150, text_height(640, 400)))
    assert len(drawn) < 2 * 400


def test_all_frames_of_a_stream_give_one_size_whatever_they_show() -> None:
    crowded = np.arange(160 * 100, dtype=np.uint32).reshape(100, 160) % 19
    pictures = [Picture(grey()), Picture(grey(), crowded.astype(np.uint8), None, one_car((1, 1, 90, 90), (100, 160)))]
    assert len({draw(picture, Style()).shape for picture in pictures}) == 1


@pytest.mark.parametrize(("size", "times"), [((320, 180), 2), ((50, 50), 8), ((640, 360), 1), ((1376, 1840), 1)])
def test_small_frames_are_enlarged_and_large_ones_are_not(size: tuple[int, int], times: int) -> None:
    image = grey(*size)
    assert draw(Picture(image), style("boxes")).shape == (size[1] * times, size[0] * times, 3)


def test_enlarged_maps_stay_exact() -> None:
    labels = np.array([[SKY, CAR], [CAR, SKY]], np.uint8)
    drawn = draw(Picture(grey(90, 90), labels), style("labels", alpha=1.0))
    assert drawn.shape == (360, 360, 3)
    palette = CITYSCAPES.palette_bgr()
    assert (drawn[:180, :180] == palette[SKY]).all()
    assert (drawn[:180, 180:] == palette[CAR]).all()


def test_drawing_leaves_the_picture_alone() -> None:
    image, labels = grey(), np.full((100, 160), SKY, np.uint8)
    draw(Picture(image, labels, None, one_car((10, 10, 60, 40), (100, 160))), Style(), Stats("front", 1, dropped=2))
    assert (image == 100).all()
    assert (labels == SKY).all()


def test_stats_say_what_they_know() -> None:
    full = [" ".join(word[:2]).strip() for word in stat_words(Stats("front", 7, 65.254, 31.24, 42.4, 61.0, 3))]
    assert full == ["front frame 7", "31.2 fps", "42 / 61 ms latency p50 / p99", "3 dropped", "1:05.25"]
    assert [word[0] for word in stat_words(Stats("front", 0))] == ["front", "0"]
    assert (clock(-0.04), clock(59.999), clock(0)) == ("-0:00.04", "1:00.00", "0:00.00")


def test_a_narrow_strip_shows_whole_figures() -> None:
    drawn = draw(Picture(grey(360, 720)), style("stats"), Stats("front", 123456, 5.0, 31.2, 42.0, 61.0, 100))
    assert (drawn[720:, -2:] == drawn[-1, -1]).all()


def test_the_meter_holds_its_figures_for_half_a_second() -> None:
    meter = Meter()
    assert meter.stats("front", 0, None, 0).fps is None
    for k in range(31):
        meter.add(10**9 + k * 20_000_000, 10.0 + k)
    shown = meter.stats("front", 30, None, 0)
    assert meter.fps() == pytest.approx(50.0)
    assert shown.fps == pytest.approx(50.0)
    assert shown.p50_ms is not None
    held = shown.p50_ms
    meter.add(10**9 + 31 * 20_000_000, 500.0)
    assert meter.stats("front", 31, None, 0).p50_ms == held


def test_layers_are_read_and_unknown_ones_refused() -> None:
    assert layers_from_text(" names,labels ") == {"names", "labels"}
    with pytest.raises(ConfigError, match=r"no layer 'boxs'.*labels, outlines.*'boxes'"):
        layers_from_text("labels,boxs")
    with pytest.raises(ConfigError, match=LAYERS[0]):
        layers_from_text(",")


def test_classes_in_a_picture() -> None:
    labels = np.array([[SKY, VOID]], np.uint8)
    assert classes_in(Picture(grey(), labels, None, one_car((0, 0, 1, 1), (1, 2)))) == {SKY, CAR}
    assert classes_in(Picture(grey())) == set()
