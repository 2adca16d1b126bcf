"""Recordings as files: what goes in comes out, and whatever happens to a file, its whole chunks are read."""

from __future__ import annotations

import dataclasses
import json
import struct
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mcap.opcode import Opcode
from mcap.reader import SeekingReader
from mcap.writer import Writer
from mcap_protobuf.decoder import DecoderFactory
from scenes import SPEC, make_scene

from perception.errors import ConfigError, SourceError, SourceNotFound, WireError
from perception.ledger import LedgerEntry
from perception.recording import writer as writing
from perception.recording.foxglove import FoxgloveChannels
from perception.recording.index import Repair, repair
from perception.recording.layout import read_layout
from perception.recording.packing import ENCODING, pack_record, unpack_record
from perception.recording.reader import Recording
from perception.recording.writer import RecordingWriter
from perception.wire.encode import Content, Sender, content_of, frame_fields, frame_time, latency_us, pack_message
from perception.wire.header import ModelInfo
from perception.wire.message import Message, decode

VECTORS = Path(__file__).parent.parent / "vectors"
SENDER = Sender("front", bytes(16), bytes(8))
MODEL = ModelInfo("m", "", "fp32", "recorded")


def vector(name: str) -> list[bytes]:
    data, frames = (VECTORS / f"{name}.bin").read_bytes(), []
    while data:
        (length,) = struct.unpack_from("<I", data)
        frames.append(data[4 : 4 + length])
        data = data[4 + length :]
    return frames


VALID = [path.stem for path in sorted(VECTORS.glob("*.json")) if json.loads(path.read_text())["valid"]]


def message(number: int, kind: str = "labels", *, sender: Sender = SENDER, seq: int | None = None) -> Message:
    """One message of a hand-made scene, as it comes over a socket."""
    scene = make_scene(number, stream=sender.stream)
    content = content_of(kind, scene, "ipc")
    assert content is not None
    entry = LedgerEntry(number + 1, number, 1, {})
    common = {**frame_fields(scene, MODEL, "c", entry), "latency_us": latency_us(scene.latency)}
    times = frame_time(scene.frame.time, time.time_ns(), time.monotonic_ns())
    return decode(pack_message(sender, content, seq=number if seq is None else seq, time=times, common=common))


def control(kind: str, body: dict[str, object]) -> Message:
    times = {"published_ns": time.time_ns(), "published_mono_ns": time.monotonic_ns()}
    return decode(pack_message(SENDER, Content(kind, {kind: body}), seq=0, time=times))


def write(path: Path, messages: list[Message], *, foxglove: bool = False, chunk: int = 1) -> list[int]:
    """A recording with ``chunk`` messages in every chunk; the size of the file after each message."""
    sizes = []
    with RecordingWriter(path, about={"origin": "test"}) as out:
        channels = FoxgloveChannels(out) if foxglove else None
        for count, one in enumerate(messages, start=1):
            times = one.header.time
            out.add(
                out.channel(f"{one.stream}/{one.kind}", ENCODING),
                pack_record(one),
                log_ns=times.captured_ns or times.published_ns,
                publish_ns=times.published_ns,
                sequence=one.header.seq,
            )
            if channels is not None:
                channels.add(one)
            if count % chunk == 0:
                out._due_s = 0.0
                out.flush_if_due()
            sizes.append(path.stat().st_size)
    return sizes


def read(path: Path) -> list[Message]:
    with Recording(path) as recording:
        return list(recording.messages())


def indexed(path: Path) -> int:
    """How many messages the library of MCAP finds by the index, checksums checked."""
    with path.open("rb") as file:
        reader = SeekingReader(file, validate_crcs=True)
        summary = reader.get_summary()
        assert summary is not None
        found = list(reader.iter_messages())
        assert summary.statistics is not None
        assert summary.statistics.message_count == len(found)
        return len(found)


@pytest.mark.parametrize("name", VALID)
def test_a_message_is_kept_byte_for_byte(name: str) -> None:
    frames = vector(name)
    before = decode(frames)
    after = unpack_record(before.stream, before.kind, pack_record(before))
    assert [after.packed, *after.payloads] == frames[1:]


@given(st.binary(max_size=200))
def test_bytes_that_are_no_record_are_a_wire_error(data: bytes) -> None:
    with pytest.raises(WireError):
        unpack_record("front", "labels", data)


def test_what_was_written_is_read_in_its_order(tmp_path: Path) -> None:
    messages = [message(k, kind) for k in range(6) for kind in ("labels", "objects", "image")]
    write(tmp_path / "a.mcap", messages, chunk=4)
    assert [m.packed for m in read(tmp_path / "a.mcap")] == [m.packed for m in messages]
    assert indexed(tmp_path / "a.mcap") == len(messages)


def test_topics_and_times(tmp_path: Path) -> None:
    write(tmp_path / "a.mcap", [message(0), message(1), message(1, "image")])
    with Recording(tmp_path / "a.mcap") as recording:
        assert recording.topics() == {("front", "labels"): 2, ("front", "image"): 1}
        assert recording.closed
        assert 0 < recording.start_ns <= recording.end_ns
        assert len(list(recording.messages(kinds=("image",)))) == 1
        assert list(recording.messages(start_s=1e6)) == []


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[int]]:
    path = tmp_path_factory.mktemp("cut") / "whole.mcap"
    return path, write(path, [message(k, kind) for k in range(5) for kind in ("labels", "objects")], foxglove=True)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(share=st.floats(0, 1))
def test_a_file_cut_off_anywhere_has_all_whole_chunks_and_can_be_repaired(
    whole: tuple[Path, list[int]], tmp_path: Path, share: float
) -> None:
    path, sizes = whole
    cut = sizes[0] + round(share * (sizes[-1] - sizes[0]))
    broken = tmp_path / "broken.mcap"
    broken.write_bytes(path.read_bytes()[:cut])
    promised = sum(size <= cut for size in sizes)
    with Recording(broken) as recording:
        assert not recording.closed
        ours = list(recording.messages())
    assert len(ours) >= promised
    assert repair(broken).cut is not None
    assert [m.packed for m in read(broken)] == [m.packed for m in ours]
    assert indexed(broken) == 2 * len(ours)  # every labels and objects message has one of Foxglove's
    before = broken.read_bytes()
    assert repair(broken) == Repair(None, ())
    assert broken.read_bytes() == before


def test_a_damaged_chunk_costs_only_itself(tmp_path: Path) -> None:
    path = tmp_path / "a.mcap"
    sizes = write(path, [message(k) for k in range(4)])
    data = bytearray(path.read_bytes())
    data[sizes[1] + 60] ^= 0xFF  # in the third chunk
    path.write_bytes(data)
    with Recording(path) as recording:
        messages = recording.messages()
        assert [next(messages).frame for _ in range(3)] == [0, 1, 3]
        with pytest.raises(SourceError, match="is damaged: the chunk at byte"):
            next(messages)


@pytest.mark.parametrize("closed", [True, False])
@pytest.mark.parametrize("broken", [0, 1, 2])
def test_a_repair_leaves_a_damaged_chunk_out_of_the_index(tmp_path: Path, broken: int, closed: bool) -> None:
    path = tmp_path / "a.mcap"
    sizes = write(path, [message(k, kind) for k in range(2) for kind in ("labels", "objects")])
    data = bytearray(path.read_bytes())
    with path.open("rb") as file:
        begin = [span.start for span in read_layout(file, "").spans if span.opcode == Opcode.CHUNK][broken]
    data[begin + 80] ^= 0xFF
    path.write_bytes(data if closed else data[: sizes[-1]])
    found = repair(path)
    assert found.damaged[0] == begin
    assert (found.cut is None) == closed
    # Without the old index nobody knows the channels that stood in the damaged chunk.
    lost = 2 if broken < 2 and not closed else 1
    assert indexed(path) == 4 - lost
    assert len(found.damaged) == lost
    before = path.read_bytes()
    assert repair(path).damaged == found.damaged
    assert path.read_bytes() == before


def test_what_is_no_recording_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(SourceNotFound):
        Recording(tmp_path / "none.mcap")
    for name, data, says in (("empty", b"", "it is empty"), ("text", b"hello, this is text", "begins with b'hello")):
        path = tmp_path / f"{name}.mcap"
        path.write_bytes(data)
        with pytest.raises(SourceError, match=says):
            Recording(path)


def test_somebody_elses_mcap_is_named_as_such(tmp_path: Path) -> None:
    path = tmp_path / "theirs.mcap"
    with path.open("wb") as file:
        theirs = Writer(file)
        theirs.start()
        channel = theirs.register_channel("/imu", "json", theirs.register_schema("Imu", "jsonschema", b"{}"))
        theirs.add_message(channel, 1, b"{}", 1)
        theirs.finish()
    with pytest.raises(SourceError, match="none of its channels is a stream of roadcast: /imu"):
        read(path)
    with Recording(path) as recording, pytest.raises(SourceError, match="/imu"):
        recording.stream_with(("image",))


def test_a_file_is_not_overwritten_without_being_asked(tmp_path: Path) -> None:
    path = tmp_path / "a.mcap"
    write(path, [message(0)])
    before = path.read_bytes()
    with pytest.raises(ConfigError, match="exists"):
        RecordingWriter(path, about={})
    assert path.read_bytes() == before
    with RecordingWriter(path, about={}, overwrite=True):
        pass
    assert not path.exists()  # an empty recording is none


@pytest.mark.parametrize("name", ["drive.mp4", "nowhere/drive.mcap", "folder.mcap"])
def test_a_name_that_cannot_be_recorded_to(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder.mcap").mkdir()
    with pytest.raises(ConfigError):
        RecordingWriter(tmp_path / name, about={})


def test_half_a_second_is_on_the_disk_before_the_file_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "FLUSH_S", 0.0)
    path, one = tmp_path / "a.mcap", message(0)
    with RecordingWriter(path, about={}) as out:
        out.add(out.channel("front/labels", ENCODING), pack_record(one), log_ns=1, publish_ns=1)
        out.flush_if_due()
        assert [m.packed for m in read(path)] == [one.packed]


def test_foxglove_sees_picture_labels_boxes_and_events(tmp_path: Path) -> None:
    path = tmp_path / "a.mcap"
    meta = {"classes": SPEC.classes.to_wire(), "source_size": None, "camera": None, "model": {}}
    event = control("event", {"name": "drop_burst", "detail": {"frames": 3}})
    scene = [control("meta", meta), message(0, "image"), message(0, "labels"), message(0, "objects"), event]
    write(path, scene, foxglove=True)
    with path.open("rb") as file:
        reader = SeekingReader(file, decoder_factories=[DecoderFactory()])
        topics = [f"foxglove/front/{kind}" for kind in ("image", "labels", "objects")] + ["foxglove/log"]
        found = {m.channel.topic: (m.schema.name, m.decoded_message) for m in reader.iter_decoded_messages(topics)}
    assert {topic: name for topic, (name, _) in found.items()} == {
        "foxglove/front/image": "foxglove.CompressedImage",
        "foxglove/front/labels": "foxglove.CompressedImage",
        "foxglove/front/objects": "foxglove.ImageAnnotations",
        "foxglove/log": "foxglove.Log",
    }
    assert found["foxglove/front/image"][1].data == bytes(scene[1].payloads[0])
    assert found["foxglove/front/labels"][1].data.startswith(b"\x89PNG")
    annotations = found["foxglove/front/objects"][1]
    assert [text.text for text in annotations.texts] == ["car 0.75", "person 0.50"]
    # The car's box is [4, 8, 12, 24) of a map of 64x32; the frame is twice as large, its left edge at 0 in Foxglove.
    corners = [(point.x, point.y) for point in annotations.points[0].points]
    assert corners == [(8, 16), (24, 16), (24, 48), (8, 48)]
    log = found["foxglove/log"][1]
    assert (log.message, log.level) == ('drop_burst {"frames": 3}', 3)


def test_a_labels_message_that_cannot_be_decoded_is_recorded_as_it_came(tmp_path: Path) -> None:
    good = message(0)
    bad = dataclasses.replace(good, payloads=(b"\x01" * len(good.payloads[0]),))
    write(tmp_path / "a.mcap", [bad], foxglove=True)
    assert read(tmp_path / "a.mcap")[0].payloads == bad.payloads
