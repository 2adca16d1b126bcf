"""One frame on its way to a page: a JSON head and the parts that the node sent, as they are.

    u4 little-endian length of the head | head, UTF-8 JSON | part | part | ...

The page undoes the codecs of the wire protocol by itself, so that this process only passes bytes on.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

import numpy as np

from perception.client import ReceivedScene
from perception.errors import WireError
from perception.wire.message import Message

MAPS = ("labels", "confidence")
SMALLEST_SIDE = 160
QUALITY = 70  # of a picture that is made smaller for a slow link


def packet(scene: ReceivedScene, kinds: Collection[str], *, age_ms: float, shrink: int = 1) -> bytes:
    """The frame for a page that shows these kinds; its picture ``shrink`` times smaller than it came."""
    parts: list[dict[str, Any]] = []
    blobs: list[bytes] = []
    for kind in ("image", *MAPS):
        message = scene.messages.get(kind)
        if message is None or kind not in kinds:
            continue
        described, blob = _part(message, shrink)
        parts.append(described)
        blobs.append(blob)
    head = {
        "stream": scene.stream,
        "frame": scene.number,
        "age_ms": round(age_ms, 1),
        "size": scene.info.source_size,
        "parts": parts,
        "objects": _objects(scene) if "objects" in kinds else [],
    }
    packed = json.dumps(head, separators=(",", ":")).encode()
    return b"".join([len(packed).to_bytes(4, "little"), packed, *blobs])


def _part(message: Message, shrink: int) -> tuple[dict[str, Any], bytes]:
    part, payload = message.part(message.kind)
    blob = bytes(payload)
    if message.kind == "image" and shrink > 1:
        blob = _smaller(blob, part.shape, shrink)
    frame = message.header.frame
    assert frame is not None  # only frame kinds are joined
    described = part.to_wire() | {"bytes": len(blob), "to_source": frame.to_source}
    return described, blob


def _smaller(jpeg: bytes, shape: tuple[int, ...], shrink: int) -> bytes:
    """A JPEG with sides divided by ``shrink``, by less where it would become too small; the same one where it cannot
    be decoded."""
    try:
        import cv2
    except ImportError:  # a machine that only watches need not have it
        return jpeg
    while min(shape[:2]) // shrink < SMALLEST_SIDE:
        shrink //= 2
        if shrink < 2:
            return jpeg
    # libjpeg decodes at a half or a quarter of the size for less than the work of the whole.
    reduced = cv2.IMREAD_REDUCED_COLOR_2 if shrink == 2 else cv2.IMREAD_REDUCED_COLOR_4
    image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), reduced | cv2.IMREAD_IGNORE_ORIENTATION)
    if image is None:
        return jpeg
    return bytes(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1])


def _objects(scene: ReceivedScene) -> list[dict[str, Any]]:
    """Class, score, track and box edges in pixels of the camera's frame, its left edge at 0."""
    table = scene.objects
    if table is None:
        return []
    try:
        boxes = (scene.boxes_in_source() + 0.5).round(1).tolist()
    except WireError:
        return []
    rows = zip(table.class_ids.tolist(), table.scores.tolist(), table.tracks, boxes)
    return [{"class": c, "score": round(s, 2), "track": t, "box": box} for c, s, t, box in rows]
