"""Running a model on the pictures of a recording again, and comparing what it sees with what was recorded."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from perception.choices import choose_network_size, open_node_engine
from perception.classes import CITYSCAPES, ClassTable
from perception.client.joining import Joiner
from perception.client.scene import ReceivedScene
from perception.config import NodeConfig
from perception.errors import ConfigError, SourceError, WireError
from perception.pipeline import Stop
from perception.recording.reader import Recording
from perception.stages.objects import objects
from perception.stages.segment import segment
from perception.types import CaptureTime, Frame, Instances, Latency, Scene
from perception.wire.classes import classes_from_meta
from perception.wire.objects import ObjectTable

NEEDED = ("labels", "image")
SAME_OBJECT_IOU = 0.5  # of boxes; the overlap at which PASCAL VOC counts a detection as right


@dataclass(slots=True)
class ClassChange:
    """One class, in pixels of all frames."""

    name: str
    recorded: int = 0
    left: int = 0  # recorded as this class, and now another
    joined: int = 0  # recorded as another, and now this class


@dataclass(slots=True)
class VerifyReport:
    """What has changed between the recording and a model's present answers."""

    file: str
    model: str
    engine: str
    tolerance: float  # share of pixels that may change
    object_tolerance: float | None  # share of objects that may be missing or new; None: any
    frames: int = 0
    skipped: int = 0  # frames without picture or labels, or of which one is damaged
    pixels: int = 0
    changed: int = 0
    worst_frame: int | None = None
    worst_share: float = 0.0
    classes: dict[int, ClassChange] = field(default_factory=dict)
    objects: int = 0  # recorded
    missing: int = 0  # recorded, and not found again
    new: int = 0  # found, and not recorded

    @property
    def changed_share(self) -> float:
        """Of all pixels."""
        return self.changed / self.pixels if self.pixels else 0.0

    @property
    def objects_share(self) -> float:
        """Missing and new objects by those recorded."""
        return (self.missing + self.new) / max(1, self.objects)

    @property
    def exit_code(self) -> int:
        """1 beyond a tolerance."""
        limit = math.inf if self.object_tolerance is None else self.object_tolerance
        return int(self.changed_share > self.tolerance or self.objects_share > limit)

    def to_json(self) -> dict[str, Any]:
        """As JSON knows values."""
        shares = {"changed_share": round(self.changed_share, 6), "objects_share": round(self.objects_share, 6)}
        return asdict(self) | shares | {"exit_code": self.exit_code}

    def text(self) -> str:
        """A table for people: totals, then the classes that changed, most changed first."""
        lines = [
            f"{self.file}: {self.frames} frames again with {self.model} on {self.engine}"
            + (f", {self.skipped} left out" if self.skipped else ""),
            f"pixels   {self.changed_share:8.3%} changed, {self.tolerance:.3%} allowed"
            + (f"; most in frame {self.worst_frame}: {self.worst_share:.3%}" if self.changed else ""),
            f"objects  {self.missing} of {self.objects} missing, {self.new} new, "
            + ("any allowed" if self.object_tolerance is None else f"{self.object_tolerance:.3%} allowed"),
        ]
        moved = sorted((c for c in self.classes.values() if c.left or c.joined), key=lambda c: -(c.left + c.joined))
        if moved:
            lines.append(f"{'class':<16}{'recorded':>12}{'left':>10}{'joined':>10}{'changed':>10}")
        for c in moved:
            share = f"{(c.left + c.joined) / c.recorded:.2%}" if c.recorded else "new"
            lines.append(f"{c.name:<16}{c.recorded:>12}{c.left:>10}{c.joined:>10}{share:>10}")
        lines.append("beyond the tolerance" if self.exit_code else "within the tolerance")
        return "\n".join(lines)


def verify(
    recording: Recording,
    stream: str | None,
    config: NodeConfig,
    *,
    tolerance: float,
    object_tolerance: float | None,
    show: Callable[[str], None] = lambda _: None,
) -> VerifyReport:
    """Compare every frame that has a picture and labels.

    Args:
        stream: None for the only one that has both.
        config: model, engine and network size; the rest of it is not used.
        tolerance: share of pixels that may differ.
        object_tolerance: missing and new objects by those recorded; None for any.

    Raises:
        ConfigError: the model's maps have another size than the recorded ones.
        SourceError: no frame of the recording has both.
    """
    name = recording.stream_with(NEEDED, stream)
    stop = Stop()
    engine = open_node_engine(config, live=False)
    with closing(engine):
        report = VerifyReport(str(recording.path), engine.spec.id, engine.name, tolerance, object_tolerance)
        comparison = _Comparison(report, CITYSCAPES)
        waiting: deque[ReceivedScene] = deque()
        segmented = segment(engine, size=choose_network_size(config, engine.spec), stop=stop)
        separated = objects(engine.spec.classes, min_area=config.min_object_area)
        again = separated(segmented(_scenes(recording, name, comparison, waiting, config.frames)))
        try:
            for scene in again:
                comparison.add(waiting.popleft(), scene)
                show(f"verifying: {report.frames} frames, {report.changed_share:.2%} of the pixels changed")
        finally:
            stop.set()
    if not report.frames:
        raise SourceError(f"{report.file!r}: no frame of stream {name!r} has both a picture and labels to compare.")
    return report


class _Comparison:
    def __init__(self, report: VerifyReport, table: ClassTable) -> None:
        self.table = table
        self._report = report

    def add(self, recorded: ReceivedScene, scene: Scene) -> None:
        before, found = recorded.labels, scene.segmentation
        assert before is not None  # such scenes were left out
        assert found is not None
        if before.shape != found.labels.shape:
            raise ConfigError(
                f"The recorded maps are {before.shape[1]}x{before.shape[0]}, this model makes "
                f"{found.labels.shape[1]}x{found.labels.shape[0]}: give the network's size of then with --size."
            )
        report, differs = self._report, before != found.labels
        count = int(differs.sum())
        report.frames += 1
        report.pixels += before.size
        report.changed += count
        if count / before.size > report.worst_share:
            report.worst_frame, report.worst_share = recorded.number, count / before.size
        self._count(np.bincount(before.reshape(-1), minlength=256), "recorded")
        self._count(np.bincount(before[differs], minlength=256), "left")
        self._count(np.bincount(found.labels[differs], minlength=256), "joined")
        if recorded.objects is not None and scene.instances is not None:
            missing, new = changed_objects(recorded.objects, scene.instances)
            report.objects += len(recorded.objects)
            report.missing += missing
            report.new += new

    def _count(self, pixels: npt.NDArray[Any], what: str) -> None:
        for class_id in np.flatnonzero(pixels).tolist():
            change = self._report.classes.setdefault(class_id, ClassChange(self.table.name(class_id)))
            setattr(change, what, getattr(change, what) + int(pixels[class_id]))


def changed_objects(recorded: ObjectTable, found: Instances) -> tuple[int, int]:
    """How many recorded objects are missing, and how many are new: pairs of one class whose boxes overlap by
    half (IoU) are the same, best pairs first."""
    same_class = recorded.class_ids[:, None] == found.class_ids[None]
    overlaps = _iou(recorded.boxes, found.boxes) * same_class
    pairs = 0
    while overlaps.size and overlaps.max() >= SAME_OBJECT_IOU:
        row, column = np.unravel_index(int(overlaps.argmax()), overlaps.shape)
        overlaps[row, :] = overlaps[:, column] = 0
        pairs += 1
    return len(recorded) - pairs, len(found) - pairs


def _iou(a: npt.NDArray[np.int32], b: npt.NDArray[np.int32]) -> npt.NDArray[np.float64]:
    """(N, M) overlap of boxes (N, 4) and (M, 4)."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(axis=2).astype(np.float64)
    areas = (a[:, 2:] - a[:, :2]).prod(axis=1)[:, None] + (b[:, 2:] - b[:, :2]).prod(axis=1)[None]
    return np.asarray(shared / np.maximum(areas - shared, 1), np.float64)


def _scenes(
    recording: Recording, stream: str, comparison: _Comparison, waiting: deque[ReceivedScene], limit: int | None
) -> Iterator[Scene]:
    """The recorded pictures as new frames; what was recorded with each goes to ``waiting``."""
    count = 0
    for recorded in _recorded(recording, stream, comparison):
        try:
            image = recorded.image
            usable = image is not None and recorded.labels is not None
        except WireError:
            usable = False
        if not usable or image is None:
            comparison._report.skipped += 1
            continue
        waiting.append(recorded)
        now = CaptureTime.now(clock="virtual")
        yield Scene(Frame(stream, recorded.number, now, image), Latency(now.captured_mono_ns))
        count += 1
        if count == limit:
            return


def _recorded(recording: Recording, stream: str, comparison: _Comparison) -> Iterator[ReceivedScene]:
    joiner = Joiner((*NEEDED, "objects"))
    for message in recording.messages(kinds=(*NEEDED, "objects", "meta")):
        if message.stream != stream:
            continue
        if message.kind == "meta":
            comparison.table = classes_from_meta(message.header.fields.submap("meta"))
        yield from joiner.add(message)
    yield from joiner.flush()
