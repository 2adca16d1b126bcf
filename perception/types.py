"""The vocabulary of the node: frozen values that stages hand on, replace and never edit.

Arrays are checked where a value is born and trusted afterwards. Shapes are (height, width, ...);
sizes are (width, height), as OpenCV and the wire protocol have them.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from perception.errors import ShapeError

Image = npt.NDArray[np.uint8]  # (H, W, 3) BGR
LabelMap = npt.NDArray[np.uint8]  # (h, w) train ids, 255 = void
ConfidenceMap = npt.NDArray[np.uint8]  # (h, w) probability of the chosen class x 255
IdMap = npt.NDArray[np.uint16]  # (h, w) object ids, 0 = none
Size = tuple[int, int]  # (width, height)
Clock = Literal["wall", "media", "virtual"]

VOID = 255


def check(name: str, array: npt.NDArray[Any], dtype: npt.DTypeLike, shape: tuple[int | None, ...]) -> None:
    """Raise ShapeError unless ``array`` has this dtype and shape; None stands for any length."""
    fits = array.ndim == len(shape) and all(n is None or n == m for n, m in zip(shape, array.shape))
    if array.dtype != np.dtype(dtype) or not fits:
        wanted = ", ".join("?" if n is None else str(n) for n in shape)
        raise ShapeError(f"{name} must be {np.dtype(dtype)} ({wanted}), got {array.dtype} {array.shape}.")


@dataclass(frozen=True, slots=True)
class CaptureTime:
    """When a frame was grabbed, on every clock that is known.

    ``clock`` names the clock that orders the frames' content: ``wall`` for a camera, ``media`` for a
    file (``media_ns`` is the container's own time, kept as it is even where it runs backwards),
    ``virtual`` for a replay or a rendered scene. ``estimated`` says that the grab itself could not be
    timed. ``original_ns`` is the recorded capture time of a replayed frame.
    """

    captured_ns: int  # Unix time at grab
    captured_mono_ns: int  # time.monotonic_ns() at grab
    media_ns: int | None = None
    clock: Clock = "wall"
    estimated: bool = False
    original_ns: int | None = None

    @staticmethod
    def now(media_ns: int | None = None, clock: Clock = "wall") -> CaptureTime:
        """The present moment, read from the Unix and the monotonic clock."""
        return CaptureTime(time.time_ns(), time.monotonic_ns(), media_ns, clock)


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One image from one source. ``number`` counts every grabbed frame from 0, dropped ones too.

    ``jpeg`` is the file that the image was decoded from, where it was one: it is published as it is.
    """

    stream: str
    number: int
    time: CaptureTime
    image: Image  # (H, W, 3) u8 BGR
    jpeg: bytes | None = None

    def __post_init__(self) -> None:
        check("Frame.image", self.image, np.uint8, (None, None, 3))

    @property
    def size(self) -> Size:
        """(width, height) of the image in pixels."""
        return self.image.shape[1], self.image.shape[0]


@dataclass(frozen=True, slots=True, eq=False)
class Detections:
    """K boxes that a detector found, each with a mask inside; a score of 0 is no object."""

    boxes: npt.NDArray[np.float32]  # (K, 4) x0 y0 x1 y1, edges in map pixels
    scores: npt.NDArray[np.float32]  # (K,) 0..1
    class_ids: npt.NDArray[np.int32]  # (K,)
    masks: npt.NDArray[np.float32]  # (K, m, m) probability that a point of the box belongs to the object

    def __post_init__(self) -> None:
        count = len(self.boxes)
        check("Detections.boxes", self.boxes, np.float32, (None, 4))
        check("Detections.scores", self.scores, np.float32, (count,))
        check("Detections.class_ids", self.class_ids, np.int32, (count,))
        check("Detections.masks", self.masks, np.float32, (count, None, None))


@dataclass(frozen=True, slots=True, eq=False)
class Segmentation:
    """A class for every pixel of a map, and how sure the network is of it.

    A model that tells objects apart gives their ids too; inside an object all labels are the same.
    """

    labels: LabelMap  # (h, w) u8, 255 = void
    confidence: ConfidenceMap | None = None  # (h, w) u8
    ids: npt.NDArray[np.int32] | None = None  # (h, w), 0 = none
    id_scores: npt.NDArray[np.float32] | None = None  # (K,) of id k + 1, 0..1; comes with ids
    probabilities: npt.NDArray[np.float16] | None = None  # (C, h, w), from models exported for refinement
    detections: Detections | None = None  # from models that find boxes; they may overlap

    def __post_init__(self) -> None:
        check("Segmentation.labels", self.labels, np.uint8, (None, None))
        if self.confidence is not None:
            check("Segmentation.confidence", self.confidence, np.uint8, self.labels.shape)
        if (self.ids is None) != (self.id_scores is None):
            raise ShapeError("A segmentation has both ids and their scores, or neither.")
        if self.ids is not None and self.id_scores is not None:
            check("Segmentation.ids", self.ids, np.int32, self.labels.shape)
            check("Segmentation.id_scores", self.id_scores, np.float32, (None,))
        if self.probabilities is not None:
            check("Segmentation.probabilities", self.probabilities, np.float16, (None, *self.labels.shape))


@dataclass(frozen=True, slots=True, eq=False)
class Instances:
    """N separate objects as parallel arrays; object k has the id ``k + 1``.

    The masks are either one ``ids`` map (objects do not overlap) or ``masks``, one boolean crop per
    object, as large as its box (they may overlap). Boxes are half-open pixel ranges of the map.
    """

    class_ids: npt.NDArray[np.uint8]  # (N,)
    scores: npt.NDArray[np.float32]  # (N,) 0..1
    boxes: npt.NDArray[np.int32]  # (N, 4) x0 y0 x1 y1, [x0, x1) x [y0, y1)
    areas: npt.NDArray[np.int32]  # (N,) pixels
    ids: IdMap | None = None  # (h, w)
    masks: tuple[npt.NDArray[np.bool_], ...] | None = None
    tracks: npt.NDArray[np.int64] | None = None  # (N,) the same over frames; -1: not tracked
    truncated: int = 0  # objects left out because ids are 16 bits wide

    def __post_init__(self) -> None:
        count = len(self.class_ids)
        check("Instances.class_ids", self.class_ids, np.uint8, (None,))
        check("Instances.scores", self.scores, np.float32, (count,))
        check("Instances.boxes", self.boxes, np.int32, (count, 4))
        check("Instances.areas", self.areas, np.int32, (count,))
        if (self.ids is None) == (self.masks is None):
            raise ShapeError("Instances need either an ids map or a tuple of masks, and not both.")
        if self.ids is not None:
            check("Instances.ids", self.ids, np.uint16, (None, None))
        if self.masks is not None:
            if len(self.masks) != count:
                raise ShapeError(f"Instances.masks must hold {count} masks, got {len(self.masks)}.")
            for mask, (x0, y0, x1, y1) in zip(self.masks, self.boxes):
                check("Instances.masks[k]", mask, np.bool_, (int(y1 - y0), int(x1 - x0)))
        if self.tracks is not None:
            check("Instances.tracks", self.tracks, np.int64, (count,))

    def __len__(self) -> int:
        return len(self.class_ids)


@dataclass(frozen=True, slots=True)
class Latency:
    """Where a frame's time went since it was grabbed, stage by stage and queue by queue.

    Each entry is the difference of two clock readings, taken where one activity ends and the next
    begins; so the entries are contiguous and add up to the time between the first and the last reading.
    """

    mark_ns: int  # time.monotonic_ns() at the last reading
    spent_ns: Mapping[str, int] = field(default_factory=dict)

    def lap(self, name: str, at_ns: int | None = None) -> Latency:
        """Charge the time since the last reading to ``name``; ``at_ns`` is a clock reading taken elsewhere."""
        now = time.monotonic_ns() if at_ns is None else max(at_ns, self.mark_ns)
        spent = dict(self.spent_ns)
        spent[name] = spent.get(name, 0) + now - self.mark_ns
        return Latency(now, spent)


@dataclass(frozen=True, slots=True)
class Pair:
    """What frames of several cameras a frame belongs together with: a set holds at most one of each camera.

    ``error_ns`` is the distance of this frame's capture time to that of the set's earliest frame, at most
    ``tolerance_ns``.
    """

    number: int  # of the set, from 0
    streams: tuple[str, ...]  # all that are in the set, this frame's too
    error_ns: int
    tolerance_ns: int


@dataclass(frozen=True, slots=True)
class Digest:
    """What a planner asks first of one frame."""

    share: Mapping[int, float]  # fraction of the map by class id, void left out
    nearest: tuple[int | None, ...]  # the lowest source row of any thing in each of 32 equal parts of the width
    drivable: tuple[tuple[float, float], ...]  # a polygon x, y in source pixels; empty where there is no road


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """What is known about one frame so far."""

    frame: Frame
    latency: Latency
    segmentation: Segmentation | None = None
    instances: Instances | None = None
    digest: Digest | None = None
    pair: Pair | None = None  # None with a single camera
    model: int = 0  # the number of the model that it was submitted to, or would have been: see perception.serving
    enhanced: Image | None = None  # (H', W', 3) what the model made of the frame, in the frame's aspect

    def lap(self, name: str, at_ns: int | None = None) -> Scene:
        """This scene with the time since the last reading charged to ``name``."""
        return replace(self, latency=self.latency.lap(name, at_ns))
