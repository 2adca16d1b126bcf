"""What a subscriber gets for one frame: the messages of all its kinds under one roof."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from perception.client.jpeg import decode_jpeg
from perception.geometry import Affine
from perception.types import ConfidenceMap, IdMap, Image, LabelMap, Size
from perception.wire.header import FrameInfo, Header
from perception.wire.message import Message
from perception.wire.objects import ObjectTable


@dataclass(frozen=True, slots=True, eq=False)
class ReceivedScene:
    """One frame as far as it arrived. Maps are decoded when they are asked for, and are read-only.

    A property whose kind did not arrive is None; ``missing`` names the kinds that were subscribed, or seen
    before, and are not here. Decoding raises WireError where a part is not what its header promises.
    """

    stream: str
    number: int
    messages: Mapping[str, Message]  # by kind, at least one
    missing: frozenset[str] = frozenset()

    @property
    def complete(self) -> bool:
        """Whether no kind is missing."""
        return not self.missing

    @property
    def header(self) -> Header:
        """The header of the first kind that arrived; capture time and ledger are those of the frame."""
        return next(iter(self.messages.values())).header

    @property
    def info(self) -> FrameInfo:
        """Model, source size, latency and ledger, from the same header."""
        frame = self.header.frame
        assert frame is not None  # only frame kinds are joined
        return frame

    @property
    def received_mono_ns(self) -> int:
        """This process's monotonic clock when the last of the messages was received."""
        return max(message.received_mono_ns for message in self.messages.values())

    @property
    def labels(self) -> LabelMap | None:
        """(h, w) u8 class ids, 255 = void."""
        return self._map("labels", "labels")

    @property
    def confidence(self) -> ConfidenceMap | None:
        """(h, w) u8 probability of the chosen class x 255."""
        return self._map("confidence", "confidence")

    @property
    def ids(self) -> IdMap | None:
        """(h, w) u16 object ids, 0 = none; None also where the masks overlap: see ``mask``."""
        return self._map("objects", "ids")

    @property
    def objects(self) -> ObjectTable | None:
        """The objects as parallel arrays."""
        message = self.messages.get("objects")
        return None if message is None else message.objects

    @property
    def image(self) -> Image | None:
        """(H, W, 3) u8 BGR. Needs OpenCV (ConfigError without); decoded anew by each call."""
        message = self.messages.get("image")
        return None if message is None else decode_jpeg(*message.part("image"))

    def mask(self, object_id: int) -> npt.NDArray[np.bool_]:
        """(h, w) pixels of one object. Raises KeyError where this frame has no such object."""
        if "objects" not in self.messages:
            raise KeyError(f"objects of frame {self.number} were not received")
        return self.messages["objects"].mask(object_id)

    def size(self, kind: str) -> Size:
        """(w, h) of the arrays of one kind. Raises KeyError where it did not arrive."""
        return self._frame_of(kind).size

    def to_source(self, points: npt.ArrayLike, kind: str = "labels") -> npt.NDArray[np.float64]:
        """Map pixels as source pixels, (N, 2) x y to (N, 2). Pixel centres are whole numbers."""
        a, b, c, d, e, f = self._affine(kind)
        xy = np.asarray(points, np.float64).reshape(-1, 2)
        return np.asarray(xy @ np.array([[a, d], [b, e]]) + np.array([c, f]), np.float64)

    def boxes_in_source(self) -> npt.NDArray[np.float64]:
        """(N, 4) edges x0 y0 x1 y1 of the objects in source pixels; a box of the whole map covers the source.

        Raises KeyError where objects did not arrive.
        """
        objects = self.objects
        if objects is None:
            raise KeyError(f"objects of frame {self.number} were not received")
        # A half-open box [x0, x1) of pixels has its edges half a pixel before the centres of x0 and x1.
        return self.to_source(objects.boxes.reshape(-1, 2) - 0.5, "objects").reshape(-1, 4)

    def _affine(self, kind: str) -> Affine:
        return self._frame_of(kind if kind in self.messages else next(iter(self.messages))).to_source

    def _frame_of(self, kind: str) -> FrameInfo:
        frame = self.messages[kind].header.frame
        assert frame is not None  # only frame kinds are joined
        return frame

    def _map(self, kind: str, part: str) -> npt.NDArray[Any] | None:
        message = self.messages.get(kind)
        return message.array(part) if message is not None and message.has(part) else None


def scene_of(messages: Sequence[Message], expected: frozenset[str]) -> ReceivedScene:
    """The messages of one frame, at least one, as a scene."""
    by_kind = {message.kind: message for message in messages}
    frame = messages[0].header.frame
    assert frame is not None  # only frame kinds are joined
    return ReceivedScene(messages[0].stream, frame.number, by_kind, expected - by_kind.keys())
