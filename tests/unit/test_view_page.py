"""What a page is sent of one frame."""

from __future__ import annotations

import asyncio
import json
import sys
import threading
import time
from collections import deque
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
import pytest
from scenes import make_scene

from perception.client.scene import ReceivedScene, scene_of
from perception.ledger import LedgerEntry
from perception.view.page import server
from perception.view.page.hub import Hub, StreamState
from perception.view.page.packet import packet
from perception.wire.codecs import part_from_wire
from perception.wire.encode import Sender, content_of, frame_fields, frame_time, latency_us, pack_message
from perception.wire.header import ModelInfo
from perception.wire.message import decode

KINDS = ("image", "labels", "objects", "confidence")


def received(*kinds: str, source_size: tuple[int, int] = (128, 64)) -> ReceivedScene:
    """A hand-made frame with these kinds, as a subscriber joins it."""
    scene, sender = make_scene(7, source_size=source_size), Sender("front", bytes(16), bytes(8))
    model = ModelInfo("m", "", "fp32", "recorded")
    common = {**frame_fields(scene, model, "c", LedgerEntry(8, 7, 1, {})), "latency_us": latency_us(scene.latency)}
    times = frame_time(scene.frame.time, time.time_ns(), time.monotonic_ns())
    messages = []
    for kind in kinds:
        content = content_of(kind, scene, "tcp")
        assert content is not None
        messages.append(decode(pack_message(sender, content, seq=7, time=times, common=common)))
    return scene_of(messages, frozenset(kinds))


def unpacked(data: bytes) -> tuple[dict[str, Any], dict[str, bytes]]:
    """The head and the parts by name; nothing may be left over."""
    length = int.from_bytes(data[:4], "little")
    head, rest, parts = json.loads(data[4 : 4 + length]), data[4 + length :], {}
    for part in head["parts"]:
        parts[part["name"]], rest = rest[: part["bytes"]], rest[part["bytes"] :]
    assert rest == b""
    return head, parts


def test_parts_are_passed_on_as_the_node_sent_them() -> None:
    scene = received(*KINDS)
    head, parts = unpacked(packet(scene, KINDS, age_ms=12.34))
    assert (head["stream"], head["frame"], head["age_ms"], head["size"]) == ("front", 7, 12.3, [128, 64])
    assert {name: bytes(scene.messages[name].payloads[0]) for name in parts} == parts
    described = {part["name"]: part_from_wire(part) for part in head["parts"]}
    assert described["labels"].codec == "rle+zlib"
    assert described["confidence"].shape == (32, 64)


def test_boxes_are_edges_in_pixels_of_the_camera() -> None:
    head, _ = unpacked(packet(received(*KINDS), KINDS, age_ms=0))
    car = head["objects"][0]
    # The car's box is [11, 8, 19, 24) of a map of 64x32; the frame is twice as large.
    assert car == {"class": 13, "score": 0.75, "track": None, "box": [22.0, 16.0, 38.0, 48.0]}


@pytest.mark.parametrize("shown", [(), ("labels",), ("objects",), ("image", "confidence")])
def test_a_page_gets_what_it_shows(shown: tuple[str, ...]) -> None:
    head, parts = unpacked(packet(received(*KINDS), shown, age_ms=0))
    assert set(parts) == set(shown) - {"objects"}
    assert bool(head["objects"]) == ("objects" in shown)


def test_what_did_not_arrive_is_left_out() -> None:
    head, parts = unpacked(packet(received("labels"), KINDS, age_ms=0))
    assert (set(parts), head["objects"]) == ({"labels"}, [])


@pytest.mark.parametrize(
    ("source", "shrink", "size"),
    [
        ((1280, 640), 1, (640, 1280)),
        ((1280, 640), 2, (320, 640)),
        ((1280, 640), 4, (160, 320)),
        ((640, 360), 4, (180, 320)),
    ],
)
def test_a_picture_for_a_slow_link_is_smaller(source: tuple[int, int], shrink: int, size: tuple[int, int]) -> None:
    _, parts = unpacked(packet(received("image", source_size=source), KINDS, age_ms=0, shrink=shrink))
    image = cv2.imdecode(np.frombuffer(parts["image"], np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    assert image.shape[:2] == size


def test_a_small_picture_stays_as_it_is() -> None:
    scene = received("image")
    _, parts = unpacked(packet(scene, KINDS, age_ms=0, shrink=4))
    assert parts["image"] == bytes(scene.messages["image"].payloads[0])


class Tab:
    """The socket of an open page, which takes in nothing at all where it is ``stuck``."""

    def __init__(self, *, stuck: bool) -> None:
        self.stuck = stuck
        self.told: list[dict[str, Any]] = []
        self.end = ""

    async def send_str(self, text: str) -> None:
        if self.stuck:
            await asyncio.Event().wait()
        self.told.append(json.loads(text))

    async def close(self, code: int) -> None:
        if self.stuck:
            await asyncio.Event().wait()
        self.end = f"closed with {code}"

    def abort(self) -> None:
        self.end = "cut off"


def test_a_page_that_takes_nothing_in_is_cut_off_in_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "ENDING_S", 0.1)
    tabs = [Tab(stuck=True), Tab(stuck=False)]

    async def end(pages: server.PageServer) -> None:
        pages._pages |= {server._Page(cast(Any, tab), cast(Any, tab)) for tab in tabs}
        await pages._close_pages()

    with closing(Hub(f"ipc://{tmp_path}/node", None)) as hub:
        asyncio.run(asyncio.wait_for(end(server.PageServer(hub)), 20))
    assert [tab.end for tab in tabs] == ["cut off", "closed with 1001"]


def test_a_page_that_takes_nothing_in_keeps_no_other_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "FIGURES_S", 0.01)
    tabs = [Tab(stuck=True), Tab(stuck=False), Tab(stuck=True)]

    async def tell(pages: server.PageServer) -> None:
        pages._pages |= {server._Page(cast(Any, tab), None) for tab in tabs}
        telling = asyncio.create_task(pages._tell())
        while len(tabs[1].told) < 3:
            await asyncio.sleep(0.01)
        telling.cancel()

    with closing(Hub(f"ipc://{tmp_path}/node", None)) as hub:
        asyncio.run(asyncio.wait_for(tell(server.PageServer(hub)), 20))
    assert tabs[1].told[0]["streams"] == {}


def test_figures_may_be_read_while_frames_come() -> None:
    state, stop, before = StreamState(arrivals=deque(maxlen=5000)), threading.Event(), sys.getswitchinterval()

    def receive() -> None:
        while not stop.is_set():
            state.arrivals.append((time.monotonic(), 5.0))

    adding = threading.Thread(target=receive)
    sys.setswitchinterval(1e-5)
    adding.start()
    try:
        assert {state.figures()["p50"] for _ in range(600)} <= {None, 5.0}
    finally:
        sys.setswitchinterval(before)
        stop.set()
        adding.join()
