"""Write the conformance vectors of wire protocol 1.0: ``python tests/vectors/generate.py``.

Each ``NAME.bin`` is one ZeroMQ message: per part its length as u4 little-endian, then its bytes. ``NAME.json``
says what a reader must get out of it: the header (binary values as ``{"hex": ...}``) and every decoded part as
its SHA-256 over the little-endian C-order bytes, with the values too where they are few; or ``"valid": false``
for a message that a reader must refuse. Nothing depends on the clock, so a second run writes the same files,
except where another zlib packs the same bytes differently.
"""

from __future__ import annotations

import base64
import hashlib
import json
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgpack
import numpy as np

from perception.classes import CITYSCAPES
from perception.wire import decode
from perception.wire.codecs import Part, encode_array
from perception.wire.encode import Content, Sender, pack_message
from perception.wire.message import Message

FOLDER = Path(__file__).parent
SENDER = Sender("front", bytes(range(16)), bytes(range(8)))
CAPTURED = 1_700_000_000_000_000_000
FEW = 256  # values that are written out
MODEL = {"id": "example", "sha256": "0123456789abcdef", "precision": "fp32", "engine": "onnxruntime"}
LEDGER = {"captured": 12, "published": 9, "in_flight": 2, "dropped": {"stale": 1}}
PUBLISHED = {"published_ns": CAPTURED + 30_000_000, "published_mono_ns": 5_030_000_000}
TIME = PUBLISHED | {
    "captured_ns": CAPTURED,
    "captured_mono_ns": 5_000_000_000,
    "media_ns": -40_000_000,
    "clock": "media",
    "estimated": False,
}
# 16 x 8 pixels, black on the left and orange on the right, quality 50.
JPEG = base64.b64decode(
    "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDABALDA4MChAODQ4SERATGCgaGBYWGDEjJR0oOjM9PDkzODdASFxOQERXRTc4UG1RV19iZ2hnPk1xeXBk"
    "eFxlZ2P/2wBDARESEhgVGC8aGi9jQjhCY2NjY2NjY2NjY2NjY2NjY2NjY2NjY2NjY2NjY2NjY2NjY2NjY2NjY2NjY2NjY2NjY2P/wAARCAAIABAD"
    "ASIAAhEBAxEB/8QAFQABAQAAAAAAAAAAAAAAAAAAAAf/xAAUEAEAAAAAAAAAAAAAAAAAAAAA/8QAFAEBAAAAAAAAAAAAAAAAAAAABf/EABkRAAID"
    "AQAAAAAAAAAAAAAAAABCBIHBBf/aAAwDAQACEQMRAD8An6mAL6K3gjAatP/Z"
)
ROWS = [
    {"id": 1, "track": 41, "class_id": 13, "score": 0.75, "box": [2, 2, 8, 6], "area": 24},
    {"id": 2, "track": None, "class_id": 11, "score": 1, "box": [10, 1, 12, 7], "area": 12},
]
Frames = list[bytes]


def example_maps() -> tuple[np.ndarray, np.ndarray]:
    """(8, 16) u1 labels with sky, road, void, a car and a person; (8, 16) u2 ids of the last two."""
    labels = np.full((8, 16), 10, np.uint8)
    labels[4:] = 0
    labels[0, 0] = 255
    ids = np.zeros((8, 16), np.uint16)
    for row in ROWS:
        x0, y0, x1, y1 = row["box"]
        labels[y0:y1, x0:x1] = row["class_id"]
        ids[y0:y1, x0:x1] = row["id"]
    return labels, ids


def message(
    kind: str, arrays: dict[str, np.ndarray], codec: str, size: tuple[int, int] = (16, 8), **fields: Any
) -> Frames:
    """A message of a frame kind."""
    encoded = [encode_array(name, array, codec) for name, array in arrays.items()]
    return frame_message(kind, [part for part, _ in encoded], [bytes(p) for _, p in encoded], size, **fields)


def frame_message(kind: str, parts: list[Part], payloads: Frames, size: tuple[int, int], **fields: Any) -> Frames:
    common = {
        "frame": 11,
        "source_size": [2 * size[0], 2 * size[1]],
        "model": MODEL,
        "classes": CITYSCAPES.fingerprint(),
        "ledger": LEDGER,
        "latency_us": {"decode": 4000, "prepare": 1000, "wait_infer": 500, "infer": 24000, "encode": 500},
        "size": size,
        "to_source": [2.0, 0.0, 0.5, 0.0, 2.0, 0.5],
    }
    content = Content(kind, fields, tuple(parts), tuple(payloads))
    return [bytes(f) for f in pack_message(SENDER, content, seq=7, time=TIME, common=common)]


def control(kind: str, body: dict[str, Any]) -> Frames:
    return [bytes(f) for f in pack_message(SENDER, Content(kind, {kind: body}), seq=3, time=PUBLISHED)]


def edited(frames: Frames, edit: Callable[[dict[str, Any]], object]) -> Frames:
    """The same message with another header."""
    header = msgpack.unpackb(frames[1])
    edit(header)
    return [frames[0], msgpack.packb(header), *frames[2:]]


def good_messages() -> dict[str, Frames]:
    labels, ids = example_maps()
    sure = (np.arange(128).reshape(8, 16) * 37 % 256).astype(np.uint8)
    crops = {f"mask/{r['id']}": np.ones((r["box"][3] - r["box"][1], r["box"][2] - r["box"][0]), np.uint8) for r in ROWS}
    long_run = np.zeros((300, 300), np.uint8)
    long_run[299, 299] = 13
    image = Part("image", "u1", (8, 16, 3), "jpeg", len(JPEG))
    status = {"state": "running", "expected_fps": 25, "fps": 24.9, "subscribers": 1, "wanted": ["labels"]}
    newer = edited(message("labels", {"labels": labels}, "rle"), lambda h: h.update(version=[1, 3], novelty={"a": [1]}))
    return {
        "labels_raw": message("labels", {"labels": labels}, "raw"),
        "labels_zlib": message("labels", {"labels": labels}, "zlib"),
        "labels_rle": message("labels", {"labels": labels}, "rle"),
        "labels_rle_zlib": message("labels", {"labels": labels}, "rle+zlib"),
        "labels_run_over_65535": message("labels", {"labels": long_run}, "rle", (300, 300)),
        "labels_newer_minor": newer,
        "confidence_zlib": message("confidence", {"confidence": sure}, "zlib"),
        "objects_ids_rle": message("objects", {"ids": ids}, "rle", objects=ROWS),
        "objects_ids_rle_zlib": message("objects", {"ids": ids}, "rle+zlib", objects=ROWS, truncated=3),
        "objects_masks": message("objects", crops, "rle", objects=ROWS),
        "objects_none": message("objects", {"ids": np.zeros_like(ids)}, "rle", objects=[]),
        "image_jpeg": frame_message("image", [image], [JPEG], (16, 8)),
        "summary": frame_message(
            "summary",
            [],
            [],
            (16, 8),
            summary={"share": {0: 0.5, 10: 0.5}, "nearest": [None] * 31 + [12], "drivable": [[0, 15], [31, 15]]},
        ),
        "meta": control(
            "meta",
            {"classes": CITYSCAPES.to_wire(), "source_size": [32, 16], "camera": None, "model": MODEL},
        ),
        "status": control("status", status | {"ledger": LEDGER, "model": MODEL}),
        "event_end_of_stream": control("event", {"name": "end_of_stream", "detail": {"state": "ended"}}),
    }


def bad_messages() -> dict[str, Frames]:
    labels, _ = example_maps()
    rle = message("labels", {"labels": labels}, "rle")
    packed = message("labels", {"labels": labels}, "zlib")
    bomb = zlib.compress(bytes(2**20), 9)

    def claim(**lie: Any) -> Callable[[dict[str, Any]], object]:
        return lambda header: header["parts"][0].update(lie)

    return {
        "bad_major_version": edited(rle, lambda h: h.update(version=[2, 0])),
        "bad_runs_too_long": [*rle[:2], b"\x02" + rle[2][1:]],
        "bad_more_runs_than_pixels": edited(rle, claim(runs=129)),
        "bad_length_of_part": edited(rle, claim(bytes=len(rle[2]) + 1)),
        "bad_shape_over_64_mib": edited(rle, lambda h: (h.update(size=[8192, 8192]), claim(shape=[8192, 8193])(h))),
        "bad_zlib_truncated": [*edited(packed, claim(bytes=len(packed[2]) - 4))[:2], packed[2][:-4]],
        "bad_zlib_bomb": [*edited(packed, claim(bytes=len(bomb)))[:2], bomb],
        "bad_topic": [b"front/labels", *rle[1:]],
        "bad_header_nested": [rle[0], b"\x91" * 4096],
        "bad_header_claims_a_huge_map": [rle[0], b"\xdf\x7f\xff\xff\xff"],
        "bad_part_missing": rle[:2],
    }


def pack(frames: Frames) -> bytes:
    return b"".join(struct.pack("<I", len(frame)) + frame for frame in frames)


def unpack(packed: bytes) -> Frames:
    frames, at = [], 0
    while at < len(packed):
        size = struct.unpack_from("<I", packed, at)[0]
        frames.append(packed[at + 4 : at + 4 + size])
        at += 4 + size
    return frames


def plain(value: Any) -> Any:
    """What JSON can hold."""
    if isinstance(value, bytes):
        return {"hex": value.hex()}
    if isinstance(value, dict):
        return {str(key): plain(inner) for key, inner in value.items()}
    return [plain(inner) for inner in value] if isinstance(value, (list, tuple)) else value


def describe(frames: Frames) -> dict[str, Any]:
    """What a reader must get out of a good message."""
    found = decode(frames)
    return {
        "valid": True,
        "topic": frames[0].decode(),
        "header": plain(msgpack.unpackb(frames[1], strict_map_key=False)),
        "parts": {part.name: describe_part(found, part) for part in found.header.parts},
    }


def describe_part(found: Message, part: Part) -> dict[str, Any]:
    if part.codec == "jpeg":
        return {"sha256": hashlib.sha256(found.part(part.name)[1]).hexdigest(), "of": "the JPEG file"}
    array = found.array(part.name)
    few = {"values": array.tolist()} if array.size <= FEW else {}
    return {"sha256": hashlib.sha256(array.tobytes()).hexdigest(), "of": "the decoded array"} | few


def main() -> None:
    for name, frames in good_messages().items():
        write(name, frames, describe(frames))
    for name, frames in bad_messages().items():
        write(name, frames, {"valid": False})


def write(name: str, frames: Frames, description: dict[str, Any]) -> None:
    (FOLDER / f"{name}.bin").write_bytes(pack(frames))
    (FOLDER / f"{name}.json").write_text(json.dumps(description, indent=1) + "\n")


if __name__ == "__main__":
    main()
