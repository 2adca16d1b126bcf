"""The conformance vectors: what is committed is what this version writes and reads."""

from __future__ import annotations

import json

import msgpack
import pytest
from vectors.generate import FOLDER, bad_messages, describe, good_messages, unpack

from perception.errors import WireError
from perception.wire import KINDS, decode

GOOD, BAD = good_messages(), bad_messages()


def stored(name: str) -> tuple[list[bytes], dict]:
    return unpack((FOLDER / f"{name}.bin").read_bytes()), json.loads((FOLDER / f"{name}.json").read_text())


@pytest.mark.parametrize("name", GOOD)
def test_a_stored_message_reads_as_described(name):
    frames, description = stored(name)
    assert json.loads(json.dumps(describe(frames))) == description


@pytest.mark.parametrize("name", GOOD)
def test_what_is_written_today_reads_the_same(name):
    """Compared after decoding: another zlib may pack the same bytes differently."""
    today = json.loads(json.dumps(describe(GOOD[name])))
    then = stored(name)[1]
    for description in (today, then):
        for part in description["header"]["parts"]:
            if part["codec"].endswith("zlib"):
                part["bytes"] = None
    assert today == then


@pytest.mark.parametrize("name", BAD)
def test_a_bad_message_is_refused(name):
    frames, description = stored(name)
    assert description == {"valid": False}
    for message in (frames, BAD[name]):
        with pytest.raises(WireError):
            read_all(message)


def read_all(frames: list[bytes]) -> None:
    message = decode(frames)
    for part in message.header.parts:
        message.array(part.name)


def test_every_kind_and_codec_has_a_vector():
    headers = [msgpack.unpackb(stored(name)[0][1], strict_map_key=False) for name in GOOD]
    assert {header["kind"] for header in headers} == set(KINDS)
    codecs = {part["codec"] for header in headers for part in header["parts"]}
    assert codecs == {"raw", "zlib", "rle", "rle+zlib", "jpeg"}


def test_no_vector_is_left_over():
    assert {path.stem for path in FOLDER.glob("*.bin")} == {*GOOD, *BAD}
    assert {path.stem for path in FOLDER.glob("*.json")} == {*GOOD, *BAD}


def test_the_jpeg_decodes_to_its_two_colours():
    pytest.importorskip("cv2")
    from perception.client.jpeg import decode_jpeg

    image = decode_jpeg(*decode(GOOD["image_jpeg"]).part("image"))
    assert image.shape == (8, 16, 3)
    assert image[:, :7].max() < 16
    assert abs(image[:, 9:].astype(int) - [0, 128, 255]).max() < 16
