"""From a scene to the parts of its messages. What all messages of a frame share is built once."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from perception.geometry import resize_affine
from perception.ledger import LedgerEntry
from perception.types import CaptureTime, Digest, Frame, Image, Latency, Pair, Scene, Size
from perception.wire.codecs import MAX_PART_BYTES, MAX_SIDE, Array, Buffer, Codec, Part, encode_array
from perception.wire.header import ModelInfo, ledger_to_wire, pack_header
from perception.wire.objects import limit_objects, objects_to_wire
from perception.wire.topic import VERSION, topic_of

Transport = Literal["tcp", "ipc"]
JPEG_QUALITY = 85

# Labels have long runs, so rle shrinks them in a third of the time that zlib needs; over a network the rest
# is worth another pass. Confidence has no runs.
MAP_CODEC: Mapping[Transport, Codec] = {"tcp": "rle+zlib", "ipc": "rle"}


@dataclass(frozen=True, slots=True)
class Content:
    """What one kind of one frame, or one control message, puts on the wire besides the common fields."""

    kind: str
    fields: Mapping[str, object]
    parts: tuple[Part, ...] = ()
    payloads: tuple[Buffer, ...] = ()


@dataclass(frozen=True, slots=True)
class Sender:
    """Who sends: the header fields that stay the same for a whole run."""

    stream: str
    session: bytes  # 16 bytes
    boot: bytes  # 8 bytes


def content_of(kind: str, scene: Scene, transport: Transport) -> Content | None:
    """The arrays and tables of one frame kind; None where the scene has nothing of this kind.

    ``image`` needs OpenCV, the others do not.
    """
    segmentation, instances = scene.segmentation, scene.instances
    if kind == "labels" and segmentation is not None:
        return _map_content(kind, segmentation.labels, scene.frame.size, MAP_CODEC[transport])
    if kind == "confidence" and segmentation is not None and segmentation.confidence is not None:
        return _map_content(kind, segmentation.confidence, scene.frame.size, "zlib")
    if kind == "objects" and instances is not None and segmentation is not None:
        height, width = segmentation.labels.shape
        return _objects_content(scene, (width, height), MAP_CODEC[transport])
    if kind == "summary" and scene.digest is not None and segmentation is not None:
        return _summary_content(scene.digest, segmentation.labels, scene.frame.size)
    if kind == "image":
        return _image_content(scene.frame, scene.enhanced)
    return None


def frame_fields(scene: Scene, model: ModelInfo, classes: str, ledger: LedgerEntry) -> dict[str, object]:
    """The header fields that all messages of one frame share."""
    fields = {
        "frame": scene.frame.number,
        "source_size": scene.frame.size,
        "model": model.to_wire(),
        "classes": classes,
        "ledger": ledger_to_wire(ledger),
    }
    return fields if scene.pair is None else {**fields, "pair": pair_to_wire(scene.pair)}


def frame_time(captured: CaptureTime, published_ns: int, published_mono_ns: int) -> dict[str, object]:
    """The ``time`` map of a frame kind."""
    fields: dict[str, object] = {
        "published_ns": published_ns,
        "published_mono_ns": published_mono_ns,
        "captured_ns": captured.captured_ns,
        "captured_mono_ns": captured.captured_mono_ns,
        "media_ns": captured.media_ns,
        "clock": captured.clock,
        "estimated": captured.estimated,
    }
    return fields if captured.original_ns is None else {**fields, "original_ns": captured.original_ns}


def pair_to_wire(pair: Pair) -> dict[str, object]:
    """The key ``pair``, which readers of version 1.0 ignore: frames of one ``set`` belong together."""
    return {
        "set": pair.number,
        "streams": list(pair.streams),
        "error_us": round(pair.error_ns / 1000),
        "tolerance_us": round(pair.tolerance_ns / 1000),
    }


def latency_us(latency: Latency) -> dict[str, int]:
    """Every entry in whole microseconds."""
    return {name: round(spent / 1000) for name, spent in latency.spent_ns.items()}


def pack_message(
    sender: Sender,
    content: Content,
    *,
    seq: int,
    time: Mapping[str, object],
    flags: Sequence[str] = (),
    common: Mapping[str, object] | None = None,
) -> list[Buffer]:
    """The parts of one ZeroMQ message: topic, header, payloads. Raises WireError if the header is too large."""
    header = {
        "version": VERSION,
        "kind": content.kind,
        "stream": sender.stream,
        "session": sender.session,
        "boot": sender.boot,
        "seq": seq,
        "time": time,
        "flags": list(flags),
        "parts": [part.to_wire() for part in content.parts],
        **(common or {}),
        **content.fields,
    }
    return [topic_of(sender.stream, content.kind), pack_header(header), *content.payloads]


def _placement(size: Size, source_size: Size) -> dict[str, object]:
    return {"size": size, "to_source": resize_affine(size, source_size)}


def _map_content(kind: str, array: Array, source_size: Size, codec: Codec) -> Content:
    part, payload = encode_array(kind, array, codec)
    height, width = array.shape
    return Content(kind, _placement((width, height), source_size), (part,), (payload,))


def _objects_content(scene: Scene, size: Size, codec: Codec) -> Content:
    assert scene.instances is not None  # asked by content_of
    instances = limit_objects(scene.instances)
    arrays: dict[str, Array]
    if instances.ids is not None:
        arrays = {"ids": instances.ids}
    else:
        arrays = {f"mask/{k}": mask.view(np.uint8) for k, mask in enumerate(instances.masks or (), start=1)}
    encoded = [encode_array(name, array, codec) for name, array in arrays.items()]
    fields = {**_placement(size, scene.frame.size), "objects": objects_to_wire(instances)}
    if instances.truncated:
        fields["truncated"] = instances.truncated
    return Content("objects", fields, tuple(part for part, _ in encoded), tuple(payload for _, payload in encoded))


def _summary_content(digest: Digest, labels: Array, source_size: Size) -> Content:
    height, width = labels.shape
    summary = {
        "share": {class_id: round(fraction, 6) for class_id, fraction in digest.share.items()},
        "nearest": list(digest.nearest),
        "drivable": [[round(x, 2), round(y, 2)] for x, y in digest.drivable],
    }
    return Content("summary", {**_placement((width, height), source_size), "summary": summary})


def _image_content(frame: Frame, enhanced: Image | None) -> Content:
    """The enhanced picture where there is one, else the frame; that as the file that it was, if it was one."""
    import cv2

    image = _fitting(frame.image if enhanced is None else enhanced)
    if frame.jpeg is not None and image is frame.image:
        payload: Buffer = frame.jpeg
    else:
        payload = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1].data
    part = Part("image", "u1", image.shape, "jpeg", len(payload))
    size = image.shape[1], image.shape[0]
    return Content("image", _placement(size, frame.size), (part,), (payload,))


def _fitting(image: Image) -> Image:
    """The image itself, or smaller where it exceeds what one part may hold."""
    import cv2

    scale = min(1.0, MAX_SIDE / max(image.shape), math.sqrt(MAX_PART_BYTES / image.nbytes))
    if scale == 1.0:
        return image
    size = max(1, int(image.shape[1] * scale)), max(1, int(image.shape[0] * scale))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
