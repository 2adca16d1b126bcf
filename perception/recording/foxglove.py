"""The same frames once more in Foxglove's schemas, for programs that do not know this protocol.

The camera picture as CompressedImage, the label map as a coloured PNG, boxes and names of the objects as
ImageAnnotations over the picture, events as Log. Schemas: https://docs.foxglove.dev/docs/sdk/schemas.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from foxglove_schemas_protobuf.Color_pb2 import Color
from foxglove_schemas_protobuf.CompressedImage_pb2 import CompressedImage
from foxglove_schemas_protobuf.ImageAnnotations_pb2 import ImageAnnotations
from foxglove_schemas_protobuf.Log_pb2 import Log
from foxglove_schemas_protobuf.Point2_pb2 import Point2
from foxglove_schemas_protobuf.PointsAnnotation_pb2 import PointsAnnotation
from mcap_protobuf.schema import build_file_descriptor_set

from perception.classes import CITYSCAPES, ClassTable
from perception.errors import WireError
from perception.geometry import apply_affine, resize_affine
from perception.recording.writer import RecordingWriter
from perception.types import LabelMap, Size
from perception.wire.classes import classes_from_meta
from perception.wire.message import Message

PREFIX = "foxglove"
WORRYING = {"drop_burst", "reconnecting", "subscriber_lost", "recording_gap"}
LINE = 2.0  # pixels
FONT = 14.0
PNG_FASTEST = [cv2.IMWRITE_PNG_COMPRESSION, 1]  # the chunk is compressed once more


class FoxgloveChannels:
    """Writes what a message shows to the channels ``foxglove/<stream>/<kind>``, and events to ``foxglove/log``."""

    def __init__(self, writer: RecordingWriter) -> None:
        self._writer = writer
        self._schemas: dict[type[Any], tuple[str, str, bytes]] = {}
        self._tables: dict[str, ClassTable] = {}
        self._pictures: dict[str, Size] = {}  # of the pictures sent, where they are not as large as the camera's

    def add(self, message: Message) -> None:
        """Write the message in Foxglove's terms, if it has something to show."""
        stream, kind = message.stream, message.kind
        if kind == "meta":
            self._tables[stream] = classes_from_meta(message.header.fields.submap("meta"))
        elif kind == "event":
            detail = message.body.get("detail") or {}
            text = f"{message.body['name']} {json.dumps(detail, default=str) if detail else ''}".strip()
            self.log(message.header.time.published_ns, stream, text, warn=message.body["name"] in WORRYING)
        elif kind == "image":
            self._pictures[stream] = _frame(message).size
            self._write(message, CompressedImage(data=bytes(message.payloads[0]), format="jpeg"))
        elif kind == "labels":
            self._labels(message)
        elif kind == "objects":
            self._write(message, self._annotations(message))

    def log(self, time_ns: int, stream: str, text: str, *, warn: bool) -> None:
        """Write one line to the log."""
        log = Log(level=Log.WARNING if warn else Log.INFO, message=text, name=stream)
        log.timestamp.FromNanoseconds(time_ns)
        self._put(f"{PREFIX}/log", log, time_ns, time_ns, 0)

    def _labels(self, message: Message) -> None:
        try:
            labels: LabelMap = message.array("labels")
        except WireError:  # the message itself is recorded as it came
            return
        colours = self._table(message.stream).palette_bgr()[labels]
        done, png = cv2.imencode(".png", colours, PNG_FASTEST)
        if done:
            self._write(message, CompressedImage(data=png.tobytes(), format="png"))

    def _annotations(self, message: Message) -> ImageAnnotations:
        frame, table = _frame(message), message.objects
        assert table is not None  # of kind objects
        size = self._pictures.get(message.stream, frame.source_size)
        scale = resize_affine(frame.source_size, size)
        corners = [
            # A pixel's centre is a whole number here, and lies half a pixel further in Foxglove.
            [apply_affine(scale, *apply_affine(frame.to_source, x - 0.5, y - 0.5)) for x, y in ((x0, y0), (x1, y1))]
            for x0, y0, x1, y1 in table.boxes.tolist()
        ]
        edges = np.array(corners, np.float64).reshape(-1, 4) + 0.5
        annotations, time_ns = ImageAnnotations(), _captured(message)
        classes = self._table(message.stream)
        colours = classes.palette_bgr()
        for row, (x0, y0, x1, y1) in enumerate(edges.tolist()):
            class_id = int(table.class_ids[row])
            colour = _colour(colours[class_id])
            points = [Point2(x=x, y=y) for x, y in ((x0, y0), (x1, y0), (x1, y1), (x0, y1))]
            outline = annotations.points.add(
                type=PointsAnnotation.LINE_LOOP, points=points, outline_color=colour, thickness=LINE
            )
            outline.timestamp.FromNanoseconds(time_ns)
            track = table.tracks[row]
            name = f"{classes.name(class_id)} {table.scores[row]:.2f}{'' if track is None else f' #{track}'}"
            label = annotations.texts.add(
                position=Point2(x=x0, y=y0),
                text=name,
                font_size=FONT,
                text_color=Color(r=1, g=1, b=1, a=1),
                background_color=colour,
            )
            label.timestamp.FromNanoseconds(time_ns)
        return annotations

    def _write(self, message: Message, content: Any) -> None:
        time_ns = _captured(message)
        if isinstance(content, CompressedImage):
            content.timestamp.FromNanoseconds(time_ns)
            content.frame_id = message.stream
        self._put(
            f"{PREFIX}/{message.stream}/{message.kind}",
            content,
            time_ns,
            message.header.time.published_ns,
            message.header.seq,
        )

    def _put(self, topic: str, content: Any, log_ns: int, publish_ns: int, sequence: int) -> None:
        kind = type(content)
        if kind not in self._schemas:
            described = build_file_descriptor_set(kind).SerializeToString()
            self._schemas[kind] = (kind.DESCRIPTOR.full_name, "protobuf", described)
        channel = self._writer.channel(topic, "protobuf", self._schemas[kind])
        data = content.SerializeToString()
        self._writer.add(channel, data, log_ns=log_ns, publish_ns=publish_ns, sequence=sequence)

    def _table(self, stream: str) -> ClassTable:
        return self._tables.get(stream, CITYSCAPES)


def _frame(message: Message) -> Any:
    frame = message.header.frame
    assert frame is not None  # asked for frame kinds only
    return frame


def _captured(message: Message) -> int:
    return message.header.time.captured_ns or message.header.time.published_ns


def _colour(bgr: npt.NDArray[np.uint8] | Sequence[int]) -> Color:
    blue, green, red = (float(value) / 255 for value in bgr)
    return Color(r=red, g=green, b=blue, a=1.0)
