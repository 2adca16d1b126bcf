"""Checking a stream against its own promises: numbering, ledger, latency, and maps that agree."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from perception.client.scene import ReceivedScene
from perception.errors import WireError
from perception.ledger import LedgerEntry
from perception.wire.header import FrameInfo, ledger_from_wire
from perception.wire.message import Message

LATENCY_TOLERANCE = 0.05  # of published - captured
LATENCY_SLACK_US = 100.0  # whole microseconds in a dozen entries
MAX_FINDINGS = 50


@dataclass(slots=True)
class _Stream:
    session: bytes
    last: dict[str, tuple[int, int]] = field(default_factory=dict)  # seq and frame by kind
    frames: int = 0  # that came, of whatever kind
    oldest: int = -1  # number of the first of them
    latest: int = -1  # and of the last
    first: LedgerEntry | None = None
    newest: LedgerEntry | None = None
    before: int = 0  # frames published before the newest that came
    state: str = ""

    def came(self, number: int) -> None:
        """Count a frame once; its kinds come one after the other."""
        self.oldest = number if not self.frames else min(self.oldest, number)
        self.frames += number > self.latest
        self.latest = max(self.latest, number)


class Audit:
    """Takes in what a subscriber receives and collects what does not add up.

    ``findings`` holds the first 50 sentences, ``count`` how many there were.
    """

    def __init__(self) -> None:
        self.findings: list[str] = []
        self.count = 0
        self._streams: dict[str, _Stream] = {}

    def message(self, message: Message) -> None:
        """Check numbering, ledger and latency of one message, and decode every array of it."""
        stream = self._streams.get(message.stream)
        if stream is None or stream.session != message.header.session:
            self._close(message.stream)
            stream = self._streams[message.stream] = _Stream(message.header.session)
        name = f"{message.stream}/{message.kind}"
        frame = message.header.frame
        last_seq, last_frame = stream.last.get(message.kind, (message.header.seq - 1, -1))
        if message.header.seq != last_seq + 1:
            self._find(f"{name}: seq {message.header.seq} follows {last_seq}; {message.header.seq - last_seq - 1} lost")
        if frame is not None and frame.number <= last_frame:
            self._find(f"{name}: frame {frame.number} follows frame {last_frame}")
        stream.last[message.kind] = message.header.seq, -1 if frame is None else frame.number
        if frame is not None:
            stream.came(frame.number)
            stream.before = frame.ledger.published
            self._ledger(name, stream, frame.ledger)
            self._latency(name, message, frame)
            self._arrays(name, message)
        elif message.kind == "status":
            stream.state = str(message.body.get("state"))
            self._ledger(name, stream, ledger_from_wire(message.header.fields.submap("status").submap("ledger")))
        elif message.kind == "event" and message.body["name"] == "end_of_stream":
            detail = message.header.fields.submap("event").submap("detail")
            stream.state = str(message.body["detail"].get("state"))
            if "ledger" in message.body["detail"]:
                self._ledger(name, stream, ledger_from_wire(detail.submap("ledger")))
        elif message.kind == "event" and message.body["name"] == "subscriber_lost":
            self._find(f"{name}: the node gave up waiting for a subscriber: {message.body.get('detail')}")

    def scene(self, scene: ReceivedScene) -> None:
        """Check that inside every object the labels are its class, and its area and box are right.

        Where masks overlap a pixel may belong to objects of two classes, so labels are not asked.
        """
        if scene.labels is None or scene.objects is None:
            return
        name = f"{scene.stream}: frame {scene.number}"
        if scene.size("labels") != scene.size("objects"):
            self._find(f"{name}: labels are {scene.size('labels')}, objects {scene.size('objects')}")
            return
        if scene.ids is not None:
            strangers = set(np.unique(scene.ids).tolist()) - {0, *scene.objects.ids.tolist()}
            if strangers:
                self._find(f"{name}: ids {sorted(strangers)[:5]} are in no row of the table")
        for row, object_id in enumerate(scene.objects.ids.tolist()):
            x0, y0, x1, y1 = scene.objects.boxes[row].tolist()
            inside = scene.mask(object_id)[y0:y1, x0:x1]
            area, pixels = int(scene.objects.areas[row]), int(inside.sum())
            if pixels != area:
                self._find(f"{name}: object {object_id} has area {area}, and {pixels} pixels inside its box")
            elif area and not (inside[0].any() and inside[-1].any() and inside[:, 0].any() and inside[:, -1].any()):
                self._find(f"{name}: the box of object {object_id} is larger than the object")
            found = set(np.unique(scene.labels[y0:y1, x0:x1][inside]).tolist())
            if scene.ids is not None and found - {int(scene.objects.class_ids[row])}:
                self._find(f"{name}: object {object_id} is class {scene.objects.class_ids[row]}, labels say {found}")

    def finish(self) -> list[str]:
        """Check the totals at the end of the stream; returns all findings."""
        for name in list(self._streams):
            self._close(name)
        if self.count > len(self.findings):
            return [*self.findings, f"... and {self.count - len(self.findings)} more"]
        return self.findings

    def _close(self, name: str) -> None:
        stream = self._streams.pop(name, None)
        if stream is None:
            return
        if stream.state in ("ended", "failed") and stream.newest is not None and stream.newest.in_flight:
            self._find(f"{name}: {stream.newest.in_flight} frames are still in flight at the end")
        # No number follows the last message, so what was lost behind it shows in the ledger alone.
        behind = 0 if stream.newest is None or not stream.frames else stream.newest.published - stream.before - 1
        if stream.state in ("ended", "failed") and behind > 0:
            self._find(f"{name}: {behind} frames were published after frame {stream.latest}, the last that came")
        if stream.frames < 2 or stream.newest is None or stream.first is None:
            return
        absent = stream.latest - stream.oldest + 1 - stream.frames
        # A frame could be dropped before the first message that we saw was sent, so the whole ledger counts.
        dropped = sum(stream.newest.dropped.values())
        if absent > dropped:
            self._find(f"{name}: {absent} frames are missing in between, and the ledger counts {dropped} dropped")

    def _ledger(self, name: str, stream: _Stream, entry: LedgerEntry) -> None:
        if not entry.balanced:
            self._find(f"{name}: the ledger does not balance: {entry}")
        before = stream.newest
        if before is not None and (
            entry.captured < before.captured
            or entry.published < before.published
            or Counter(before.dropped) - Counter(entry.dropped)
        ):
            self._find(f"{name}: the ledger runs backwards: {before}, then {entry}")
        stream.first = stream.first or entry
        stream.newest = entry

    def _latency(self, name: str, message: Message, frame: FrameInfo) -> None:
        times = message.header.time
        whole = (times.published_mono_ns - (times.captured_mono_ns or 0)) / 1000
        parts = sum(frame.latency_us.values())
        if abs(parts - whole) > LATENCY_TOLERANCE * abs(whole) + LATENCY_SLACK_US:
            self._find(
                f"{name}: the stages of frame {frame.number} add up to {parts:.0f} us; "
                f"from capture to publication it took {whole:.0f} us"
            )

    def _arrays(self, name: str, message: Message) -> None:
        for part in message.header.parts:
            if part.codec != "jpeg":
                try:
                    message.array(part.name)
                except WireError as error:
                    self._find(f"{name}: {error}")

    def _find(self, sentence: str) -> None:
        self.count += 1
        if len(self.findings) < MAX_FINDINGS:
            self.findings.append(sentence)
