"""The audit of a stream: what it takes for wrong, what it leaves in peace, and how much it remembers."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace

import pytest
from scenes import make_scene

from perception.cli.sub import LATENCIES, Log
from perception.client.audit import MAX_FINDINGS, Audit
from perception.client.joining import Joiner
from perception.client.scene import scene_of
from perception.ledger import LedgerEntry
from perception.types import CaptureTime, Scene
from perception.wire import decode
from perception.wire.encode import Sender, content_of, frame_fields, frame_time, latency_us, pack_message
from perception.wire.header import ModelInfo
from perception.wire.message import Message

SENDER = Sender("front", bytes(16), bytes(8))
TIME = CaptureTime(5_000_000_000, 5_000_000_000)


def message_of(kind: str, scene: Scene) -> Message:
    latency = scene.latency.lap("infer", TIME.captured_mono_ns + 1_000_000)
    times = frame_time(TIME, TIME.captured_ns + 1_000_000, latency.mark_ns)
    number = scene.frame.number
    common = frame_fields(scene, ModelInfo("m", "", "fp32", "recorded"), "c", LedgerEntry(number + 1, number, 1, {}))
    content = content_of(kind, scene, "ipc")
    assert content is not None
    common["latency_us"] = latency_us(latency)
    parts = pack_message(SENDER, content, seq=number, time=times, common=common)
    return decode([bytes(part) for part in parts])


def findings_in(scene: Scene) -> list[str]:
    audit = Audit()
    audit.scene(scene_of([message_of(kind, scene) for kind in ("labels", "objects")], frozenset()))
    return audit.findings


@pytest.mark.parametrize("overlapping", [False, True])
def test_only_objects_that_cannot_overlap_are_bound_to_the_labels(overlapping: bool) -> None:
    scene = make_scene(0, time=TIME, overlapping=overlapping)
    assert scene.segmentation is not None
    assert findings_in(scene) == []
    labels = scene.segmentation.labels.copy()
    labels[labels == 13] = 14
    found = findings_in(replace(scene, segmentation=replace(scene.segmentation, labels=labels)))
    assert [sentence.partition(": object")[2] for sentence in found] == (
        [] if overlapping else [" 1 is class 13, labels say {14}"]
    )


@pytest.mark.parametrize("kinds", [("labels",), ("labels", "confidence", "objects")])
def test_frames_that_are_missing_and_no_drops_are_told_once(kinds: tuple[str, ...]) -> None:
    audit = Audit()
    for number in (3, 4, 7, 8):
        for kind in kinds:
            message = message_of(kind, make_scene(number, time=TIME))
            audit.message(replace(message, header=replace(message.header, seq=number - 3 - 2 * (number > 4))))
    assert audit.finish() == ["front: 2 frames are missing in between, and the ledger counts 0 dropped"]


@pytest.mark.parametrize(("missing_us", "told"), [(40_000, False), (60_000, True)])
def test_stages_add_up_within_a_twentieth(missing_us: int, told: bool) -> None:
    message = message_of("labels", make_scene(0, time=TIME))
    assert message.header.frame is not None
    times = replace(message.header.time, published_mono_ns=TIME.captured_mono_ns + 1_000_000_000)
    frame = replace(message.header.frame, latency_us={"decode": 300_000.0, "infer": 700_000.0 - missing_us})
    audit = Audit()
    audit.message(replace(message, header=replace(message.header, time=times, frame=frame)))
    assert any("add up to 940000 us" in sentence for sentence in audit.findings) == told
    assert len(audit.findings) == told


def test_a_stream_that_is_all_wrong_does_not_fill_the_screen() -> None:
    audit = Audit()
    for number in range(60):
        message = message_of("labels", make_scene(number, time=TIME))
        audit.message(replace(message, header=replace(message.header, seq=2 * number)))
    findings = audit.finish()
    assert len(findings) == MAX_FINDINGS + 1
    assert findings[-1] == "... and 9 more"


def test_a_watch_of_days_takes_no_more_memory_than_one_of_minutes() -> None:
    """A message of each of many frames, twice: what is remembered of the first half is all that is remembered."""
    log = Log(Audit(), Joiner(("labels",)))
    first = message_of("labels", make_scene(0, time=TIME))
    assert first.header.frame is not None

    def watch(begin: int, end: int) -> int:
        assert first.header.frame is not None
        for number in range(begin, end):
            frame = replace(first.header.frame, number=number, ledger=LedgerEntry(number + 1, number, 1, {}))
            log.add(replace(first, header=replace(first.header, seq=number, frame=frame), received_mono_ns=number))
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        log.latencies_ms.extend(map(float, range(LATENCIES)))
        before = watch(0, 1000)
        grown = watch(1000, 5000) - before
    finally:
        tracemalloc.stop()
    assert grown < 50_000, f"{grown} bytes more for 4,000 frames"
    assert log.finish(log.audit or Audit())[:-1] == [], "frames that all came are no finding"
