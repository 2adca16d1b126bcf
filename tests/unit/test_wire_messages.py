"""Messages: encoded scenes come back as they were, and hostile ones raise one typed error."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scenes import SPEC, make_scene

from perception.client.jpeg import decode_jpeg
from perception.errors import ConfigError, WireError
from perception.ledger import LedgerEntry
from perception.types import CaptureTime, Instances, Latency
from perception.wire import FRAME_KINDS, KINDS, decode
from perception.wire.classes import classes_from_meta
from perception.wire.encode import Content, Sender, content_of, frame_fields, frame_time, latency_us, pack_message
from perception.wire.fields import Fields
from perception.wire.header import ModelInfo
from perception.wire.objects import limit_objects
from perception.wire.topic import check_stream, parse_topic, topic_of, wanted_kinds

SENDER = Sender("front", bytes(range(16)), bytes(range(8)))
TIME = CaptureTime(1_700_000_000_000_000_000, 5_000_000, media_ns=-40, clock="media", original_ns=7)
CONTROL = {
    "meta": {"classes": SPEC.classes.to_wire(), "source_size": [128, 64], "camera": None, "model": {"id": "m"}},
    "status": {"state": "running", "fps": 25, "ledger": {"captured": 1, "published": 1, "in_flight": 0, "dropped": {}}},
    "event": {"name": "end_of_stream", "detail": {}},
}


def encoded(kind: str, *, overlapping: bool = False, transport="tcp") -> list[bytes]:
    if kind in CONTROL:
        times = {"published_ns": 3, "published_mono_ns": 2}
        return [bytes(f) for f in pack_message(SENDER, Content(kind, {kind: CONTROL[kind]}), seq=4, time=times)]
    scene = make_scene(9, time=TIME, overlapping=overlapping)
    ledger = LedgerEntry(10, 8, 1, {"stale": 1})
    common = frame_fields(scene, ModelInfo("m", "ab" * 8, "fp32", "recorded"), "c0ffee", ledger)
    common["latency_us"] = latency_us(Latency(0, {"decode": 1500, "infer": 2_000_000}))
    if kind == "summary":
        body = {"share": {0: 0.5, 10: 0.5}, "nearest": [None] * 32, "drivable": [[0, 1], [2.5, 3]]}
        content = Content(kind, {"size": [64, 32], "to_source": [2, 0, 0.5, 0, 2, 0.5], "summary": body})
    else:
        content = content_of(kind, scene, transport)
    assert content is not None
    times = frame_time(TIME, TIME.captured_ns + 9, TIME.captured_mono_ns + 9)
    return [bytes(f) for f in pack_message(SENDER, content, seq=4, time=times, flags=["degraded"], common=common)]


@pytest.mark.parametrize("transport", ["tcp", "ipc"])
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "image"])
def test_every_kind_comes_back(kind, transport):
    message = decode(encoded(kind, transport=transport))
    assert (message.stream, message.kind, message.header.seq) == ("front", kind, 4)
    assert (message.header.session, message.header.boot) == (SENDER.session, SENDER.boot)
    if kind not in FRAME_KINDS:
        assert message.body["name" if kind == "event" else "state" if kind == "status" else "model"] is not None
        assert message.frame is None
        return
    frame, times = message.header.frame, message.header.time
    assert frame is not None
    assert (frame.number, frame.size, frame.source_size) == (9, (64, 32), (128, 64))
    assert frame.to_source == (2.0, 0.0, 0.5, 0.0, 2.0, 0.5)
    assert frame.latency_us == {"decode": 2, "infer": 2000}
    assert frame.ledger == LedgerEntry(10, 8, 1, {"stale": 1})
    assert frame.ledger.balanced
    assert (times.captured_ns, times.media_ns, times.clock, times.original_ns) == (TIME.captured_ns, -40, "media", 7)
    assert message.header.flags == ("degraded",)


@pytest.mark.parametrize("transport", ["tcp", "ipc"])
def test_maps_come_back_bit_for_bit(transport):
    scene = make_scene(9, time=TIME)
    assert scene.segmentation is not None
    assert scene.instances is not None
    np.testing.assert_array_equal(
        decode(encoded("labels", transport=transport)).array("labels"), scene.segmentation.labels
    )
    sure = decode(encoded("confidence", transport=transport)).array("confidence")
    np.testing.assert_array_equal(sure, scene.segmentation.confidence)
    objects = decode(encoded("objects", transport=transport))
    np.testing.assert_array_equal(objects.array("ids"), scene.instances.ids)
    assert objects.objects is not None
    np.testing.assert_array_equal(objects.objects.boxes, scene.instances.boxes)
    np.testing.assert_array_equal(objects.objects.scores, scene.instances.scores)
    with pytest.raises(ValueError, match="read-only"):
        objects.array("ids")[0, 0] = 1


def test_overlapping_masks_give_the_same_pixels_as_an_ids_map():
    plain, crops = decode(encoded("objects")), decode(encoded("objects", overlapping=True))
    assert not crops.has("ids")
    for object_id in (1, 2):
        np.testing.assert_array_equal(plain.mask(object_id), crops.mask(object_id))
    with pytest.raises(KeyError, match="object 3"):
        plain.mask(3)


def test_a_picture_larger_than_a_part_may_be_is_sent_smaller_and_says_so():
    pytest.importorskip("cv2")
    scene = make_scene(0, source_size=(10_240, 40))
    content = content_of("image", scene, "tcp")
    assert content is not None
    assert content.parts[0].shape == (32, 8192, 3)
    assert content.fields["size"] == (8192, 32)
    assert content.fields["to_source"] == pytest.approx((1.25, 0, 0.125, 0, 1.25, 0.125))
    decoded = decode_jpeg(content.parts[0], content.payloads[0])
    assert decoded.shape == (32, 8192, 3)
    line = content_of("image", make_scene(0, source_size=(20_000, 1)), "tcp")
    assert line is not None
    assert line.parts[0].shape == (1, 8192, 3)


def test_the_image_is_passed_through():
    pytest.importorskip("cv2")
    message = decode(encoded("image"))
    part, payload = message.part("image")
    assert part.shape == (64, 128, 3)
    assert bytes(payload[:2]) == b"\xff\xd8"
    with pytest.raises(WireError, match="JPEG"):
        message.array("image")


def test_the_class_table_comes_back():
    assert classes_from_meta(decode(encoded("meta")).header.fields.submap("meta")) == SPEC.classes
    twice = {"classes": [CONTROL["meta"]["classes"][0]] * 2}
    with pytest.raises(WireError, match="ascend"):
        classes_from_meta(Fields(twice, "meta"))


def changed(kind: str, edit) -> list[bytes]:
    """A good message after ``edit`` had its way with the header."""
    frames = encoded(kind)
    header = msgpack.unpackb(frames[1], strict_map_key=False)
    edit(header)
    return [frames[0], msgpack.packb(header), *frames[2:]]


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "image"])
def test_readers_ignore_unknown_keys_and_accept_a_newer_minor(kind):
    def edit(header):
        header["version"] = [1, 9]
        header["novelty"] = {"a": [1]}
        header["time"]["tai_ns"] = 5

    assert decode(changed(kind, edit)).header.version == (1, 9)


def test_an_integer_will_do_for_a_float():
    def edit(header):
        header["latency_us"]["decode"] = 3
        header["objects"][0]["score"] = 1

    message = decode(changed("objects", edit))
    assert message.objects is not None
    assert message.objects.scores[0] == 1.0


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "image"])
def test_every_key_that_is_missing_or_of_another_type_is_refused_by_name(kind):
    header = msgpack.unpackb(encoded(kind)[1], strict_map_key=False)
    for key in header:
        with pytest.raises(WireError):
            decode(changed(kind, lambda h, key=key: h.pop(key)))
        for wrong in (b"bytes", -1, 1.5, [[]], True):
            with pytest.raises(WireError):
                decode(changed(kind, lambda h, key=key, wrong=wrong: h.__setitem__(key, wrong)))


@pytest.mark.parametrize(
    ("kind", "edit"),
    [
        ("labels", lambda h: h.update(version=[2, 0])),
        ("labels", lambda h: h.update(stream="rear")),
        ("labels", lambda h: h.update(size=[32, 64])),
        ("labels", lambda h: h["parts"][0].update(dtype="u2")),
        ("labels", lambda h: h["parts"][0].update(name="label")),
        ("labels", lambda h: h["parts"].append(h["parts"][0])),
        ("labels", lambda h: h["parts"][0].update(codec="jpeg")),
        ("labels", lambda h: h.update(to_source=[float("nan")] * 6)),
        ("labels", lambda h: h["latency_us"].update(infer=-1)),
        ("labels", lambda h: h["ledger"].update(captured=2**63)),
        ("labels", lambda h: h["time"].update(clock="sundial")),
        ("objects", lambda h: h["objects"][0].update(id=0)),
        ("objects", lambda h: h["objects"][0].update(id=2)),
        ("objects", lambda h: h["objects"][0].update(id=65536)),
        ("objects", lambda h: h["objects"][0].update(class_id=255)),
        ("objects", lambda h: h["objects"][0].update(score=1.01)),
        ("objects", lambda h: h["objects"][0].update(score=float("nan"))),
        ("objects", lambda h: h["objects"][0].update(score="a" * 100_000)),
        ("objects", lambda h: h["objects"][0].update(box=[0, 0, 65, 1])),
        ("objects", lambda h: h["objects"][0].update(box=[3, 0, 2, 1])),
        ("objects", lambda h: h["objects"][0].update(area=64 * 32 + 1)),
        ("objects", lambda h: h["objects"][0].update(track="one")),
        ("objects", lambda h: h["objects"].append(5)),
        ("objects", lambda h: h["parts"].clear()),
        ("event", lambda h: h["event"].update(name=None)),
    ],
)
def test_a_header_that_contradicts_itself_is_refused(kind, edit):
    with pytest.raises(WireError):
        decode(changed(kind, edit))


def test_masks_must_be_as_large_as_their_boxes():
    frames = encoded("objects", overlapping=True)
    header = msgpack.unpackb(frames[1])
    header["objects"][0]["box"][2] -= 1
    with pytest.raises(WireError, match="mask/1"):
        decode([frames[0], msgpack.packb(header), *frames[2:]])


@pytest.mark.parametrize(
    "frames",
    [
        [],
        [b"front/labels/"],
        [b"front/labels", b"\x80"],
        [b"front/labels/", b""],
        [b"front/labels/", b"\x80"],
        [b"front/labels/", b"\xc1"],
        [b"front/labels/", b"\x91" * 5000],
        [b"front/labels/", b"\x81\x90\x01"],
        [b"front/labels/", b"\xa1\xff"],
        [b"front/labels/", b"\xd6\xff\x00\x00\x00\x01"],
        [b"front/labels/", bytes(2**20 + 1)],
        [b"front/dreams/", b"\x80"],
        [b"\xff/labels/", b"\x80"],
    ],
)
def test_what_is_no_message_is_refused(frames):
    with pytest.raises(WireError):
        decode(frames)


@pytest.mark.parametrize(
    "header",
    [b"\xdd\x00\x00\xff\xff" * 5000, b"\xdf\x7f\xff\xff\xff", b"\xc6\x7f\xff\xff\xff", b"\xdb\xff\xff\xff\xff"],
)
def test_a_lying_header_costs_no_memory(header):
    tracemalloc.start()
    try:
        with pytest.raises(WireError):
            decode([b"front/labels/", header])
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


@given(st.sampled_from([kind for kind in KINDS if kind != "image"]), st.data())
def test_mutated_messages_raise_nothing_but_wire_error(kind, data):
    frames = [bytearray(frame) for frame in encoded(kind)]
    for _ in range(data.draw(st.integers(1, 5))):
        target = frames[data.draw(st.integers(0, len(frames) - 1))]
        how = data.draw(st.sampled_from(["flip", "cut", "grow"]))
        if how == "flip" and target:
            target[data.draw(st.integers(0, len(target) - 1))] ^= data.draw(st.integers(1, 255))
        elif how == "cut":
            del target[data.draw(st.integers(0, len(target))) :]
        else:
            target += data.draw(st.binary(max_size=9))
    read_all([bytes(frame) for frame in frames])


@given(st.lists(st.binary(max_size=200), max_size=4))
def test_random_messages_raise_nothing_but_wire_error(frames):
    read_all([b"front/labels/", *frames])
    read_all(frames)


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=9)
    | st.binary(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(st.sampled_from([kind for kind in KINDS if kind != "image"]), st.data())
def test_any_value_anywhere_raises_nothing_but_wire_error(kind, data):
    frames = encoded(kind)
    header = msgpack.unpackb(frames[1], strict_map_key=False)
    at = header
    for _ in range(data.draw(st.integers(0, 3))):
        inner = [v for v in (at.values() if isinstance(at, dict) else at) if isinstance(v, (dict, list)) and v]
        at = data.draw(st.sampled_from(inner)) if inner else at
    key = (
        data.draw(st.sampled_from(sorted(at, key=str)))
        if isinstance(at, dict)
        else data.draw(st.integers(0, len(at) - 1))
    )
    at[key] = data.draw(plain)
    read_all([frames[0], msgpack.packb(header), *frames[2:]])


def read_all(frames: list[bytes]) -> None:
    """Decode a message and everything in it; anything but success or WireError fails the test."""
    try:
        message = decode(frames)
        for part in message.header.parts:
            message.array(part.name)
        for object_id in [] if message.objects is None else message.objects.ids.tolist():
            message.mask(object_id)
        if message.header.frame is None:
            assert isinstance(message.body, dict)
    except WireError:
        pass


def test_more_objects_than_a_header_holds_leave_the_lowest_scores_out():
    scores = np.array([0.2, 0.9, 0.1, 0.8], np.float32)
    ids = np.array([[1, 2, 3, 4]], np.uint16)
    boxes = np.array([[k, 0, k + 1, 1] for k in range(4)], np.int32)
    many = Instances(np.full(4, 13, np.uint8), scores, boxes, np.ones(4, np.int32), ids=ids, truncated=5)
    few = limit_objects(many, 2)
    assert few.truncated == 7
    np.testing.assert_array_equal(few.ids, [[0, 1, 0, 2]])
    np.testing.assert_array_equal(few.boxes, boxes[[1, 3]])
    assert limit_objects(many, 4) is many


def test_more_overlapping_masks_than_a_header_holds_lose_the_lowest_scores():
    count = 10_000
    scores = np.linspace(0.9, 0.1, count).astype(np.float32)
    boxes = np.tile(np.array([60, 30, 62, 32], np.int32), (count, 1))
    masks, tracks = (np.ones((2, 2), bool),) * count, np.arange(count) + 2**40
    many = Instances(np.full(count, 13, np.uint8), scores, boxes, np.full(count, 4, np.int32), None, masks, tracks)
    content = content_of("objects", replace(make_scene(9), instances=many), "tcp")
    assert content is not None
    common = frame_fields(make_scene(9), ModelInfo("m", "", "fp32", "recorded"), "c", LedgerEntry(1, 0, 1, {}))
    times = frame_time(TIME, TIME.captured_ns + 9, TIME.captured_mono_ns + 9)
    frames = pack_message(SENDER, content, seq=2**40, time=times, common={**common, "latency_us": {"decode": 1}})
    objects = decode([bytes(frame) for frame in frames]).objects
    assert objects is not None
    assert len(objects) + objects.truncated == count
    assert len(objects) > 5000
    np.testing.assert_array_equal(objects.scores, scores[: len(objects)])


@pytest.mark.parametrize("stream", ["", "front/", "vorn ", "übersicht", "a" * 65, "a\n"])
def test_stream_names_that_would_break_topics_are_refused(stream):
    with pytest.raises(ConfigError, match="not allowed"):
        check_stream(stream)


@given(st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True), st.sampled_from(KINDS))
def test_topics_come_back(stream, kind):
    assert parse_topic(topic_of(check_stream(stream), kind)) == (stream, kind)


def test_wanted_kinds_follow_the_prefix_rule():
    assert wanted_kinds("cam1", [b""]) == frozenset(KINDS)
    assert wanted_kinds("cam1", [b"cam1/"]) == frozenset(KINDS)
    assert wanted_kinds("cam1", [b"cam"]) == frozenset(KINDS)
    assert wanted_kinds("cam1", [b"cam1/labels/"]) == {"labels"}
    assert wanted_kinds("cam1", [b"cam1/me"]) == {"meta"}
    assert wanted_kinds("cam1", [b"cam10/", b"cam1/labels/x", b"cam1/labelss"]) == frozenset()
    assert wanted_kinds("cam1", []) == frozenset()
