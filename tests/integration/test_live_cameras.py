"""Live cameras against a server on loopback that freezes, lies, changes and dies."""

from __future__ import annotations

import os
import threading
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from clips import clip, steady
from mjpeg_server import Camera, camera_server, until
from rtsp_server import rtsp_server
from watched import STALL_S, forever, no_children, publish_all, then_freeze, watch

from perception.errors import SourceError
from perception.ledger import Ledger
from perception.sources import Patience, open_source


def test_frames_come_with_the_time_of_their_grab() -> None:
    began_ns, began_mono_ns = time.time_ns(), time.monotonic_ns()
    frames, entry, error = watch(forever, 20)
    assert error is None
    assert {(frame.stream, frame.size, frame.time.clock) for frame in frames} == {("rear", (64, 48), "wall")}
    numbers = [frame.number for frame in frames]
    assert numbers == sorted(set(numbers))
    monos = [frame.time.captured_mono_ns for frame in frames]
    assert began_mono_ns < monos[0]
    assert monos == sorted(set(monos))
    assert monos[-1] < time.monotonic_ns()
    assert began_ns < frames[0].time.captured_ns < time.time_ns()
    assert set(entry.dropped) <= {"stale", "shutdown"}


def test_a_slow_consumer_gets_the_newest_and_the_rest_is_counted() -> None:
    frames, entry, _ = watch(forever, 5, pause_s=0.4)
    shown = [round(float(frame.image.mean())) for frame in frames]
    assert entry.dropped["stale"] >= 4 * 5
    # The brightness is the server's own running number: it must advance exactly as the frame numbers do.
    steps = [later.number - earlier.number for earlier, later in pairwise(frames)]
    assert np.allclose(np.diff(shown), steps, atol=1)
    assert entry.captured > frames[-1].number


def test_the_size_may_change() -> None:
    def script(camera: Camera) -> None:
        camera.begin()
        for width, height in ((64, 48), (320, 240), (32, 200)):
            camera.stream(15, width, height)

    frames, _, error = watch(script)
    assert list(dict.fromkeys(frame.size for frame in frames)) == [(64, 48), (320, 240), (32, 200)]
    assert "is gone" in str(error)


def test_a_camera_that_freezes() -> None:
    frames, _, error = watch(then_freeze)
    assert len(frames) > 3
    assert "has frozen: connected, but no frame for 1 s" in str(error)
    assert error is not None
    assert error.exit_code == 3


def test_a_camera_that_ends_its_stream() -> None:
    def script(camera: Camera) -> None:
        camera.begin()
        camera.stream(10)

    frames, entry, error = watch(script)
    assert len(frames) + entry.dropped.get("stale", 0) >= 9
    assert "is gone: " in str(error)


def test_a_camera_that_sends_garbage_after_a_while() -> None:
    def script(camera: Camera) -> None:
        camera.begin()
        camera.stream(10)
        while not camera.stop.wait(0.02):
            camera.send(np.random.default_rng(0).integers(0, 256, 3000, dtype=np.uint8).tobytes())

    frames, _, error = watch(script)
    assert len(frames) > 3
    assert error is not None


def test_broken_pictures_are_counted_and_survived() -> None:
    def script(camera: Camera) -> None:
        camera.begin()
        camera.stream(10)
        for _ in range(5):
            camera.send(b"\xff\xd8\xff\xe0" + bytes(300) + b"\xff\xd9")
        camera.stream(100_000)

    frames, entry, error = watch(script, 40)
    assert error is None
    assert entry.dropped["decode_error"] == 5
    assert len(frames) == 40


def test_a_server_that_sends_noise_only() -> None:
    def script(camera: Camera) -> None:
        while not camera.stop.wait(0.01):
            camera.raw(os.urandom(4000))

    with camera_server(script) as (url, _), pytest.raises(SourceError, match="Cannot open"):
        list(open_source(url, patience=Patience(open_s=2, stall_s=1)).frames(Ledger()))


@pytest.mark.parametrize(("status", "says"), [(404, "404 Not Found"), (401, "401 Unauthorized")])
def test_a_server_that_refuses_shows_no_password(status: int, says: str) -> None:
    _, _, error = watch(lambda camera: camera.refuse(status), login="me:geheim@")
    assert says in str(error)
    assert "http://***@127.0.0.1" in str(error)
    assert "geheim" not in str(error)


def test_a_server_that_never_answers() -> None:
    with camera_server(lambda camera: camera.stop.wait() and None) as (url, _):
        source = open_source(url, patience=Patience(open_s=1, stall_s=1))
        with pytest.raises(SourceError, match="no answer within 1 s"):
            list(source.frames(Ledger()))


def test_a_recording_on_a_web_server_plays_in_real_time_and_ends_well(tmp_path: Path) -> None:
    data = clip(tmp_path / "a.mkv", steady(20, 50)).read_bytes()

    def script(camera: Camera) -> None:
        head = f"HTTP/1.0 200 OK\r\nContent-Type: video/x-matroska\r\nContent-Length: {len(data)}\r\n\r\n"
        camera.raw(head.encode() + data)

    frames, entry, error = watch(script)
    assert error is None
    assert entry.captured == 20
    assert frames[-1].number == 19
    took_ns = frames[-1].time.captured_mono_ns - frames[0].time.captured_mono_ns
    assert took_ns > 0.5e9


def test_closing_from_another_thread_ends_a_blocked_iteration() -> None:
    with camera_server(then_freeze) as (url, _):
        source = open_source(url, patience=Patience(stall_s=600))
        ledger, frames = Ledger(), []
        thread = threading.Thread(target=lambda: frames.extend(source.frames(ledger)))
        thread.start()
        assert until(lambda: ledger.entry().captured >= 5)
        source.close()
        source.close()
        thread.join(timeout=10)
        assert not thread.is_alive()
        assert no_children()


def test_an_rtsp_camera_and_its_freezing(tmp_path: Path) -> None:
    data = clip(tmp_path / "a.ts", steady(50)).read_bytes()
    ledger = Ledger()
    with rtsp_server(data, seconds=2.0, freeze_after=2 * len(data) // (7 * 188)) as url:
        source = open_source(url.replace("//", "//me:geheim@"), patience=Patience(stall_s=STALL_S))
        with pytest.raises(SourceError, match=r"rtsp://\*\*\*@127.0.0.1:\d+/live' has frozen"):
            publish_all(source.frames(ledger), ledger)
    entry = ledger.entry()
    assert entry.balanced
    assert entry.published >= 20
    assert entry.in_flight == 0
    assert source.fps == 25.0
    assert no_children()


def test_a_slow_rtsp_camera_is_not_watched_for_long_before_it_is_used(tmp_path: Path) -> None:
    data, ledger = clip(tmp_path / "a.ts", steady(40, period_ms=200)).read_bytes(), Ledger()
    with rtsp_server(data, seconds=8.0) as url:
        source = open_source(url)
        frames = source.frames(ledger)
        first = next(frames)
        later = next(frame for frame in frames if frame.number >= 15)
        source.close()
        frames.close()  # type: ignore[attr-defined]
    # What came while connecting is decoded in a burst; with the 20 frames of FFmpeg's own choice this one, too.
    assert later.time.captured_mono_ns - first.time.captured_mono_ns > 0.5e9, "of 3 s in which they were sent"
    assert source.fps == 5.0
    assert ledger.entry().balanced


@pytest.mark.parametrize("scheme", ["rtsp", "rtmp", "http"])
def test_nobody_there(scheme: str) -> None:
    with camera_server(forever) as (url, _):
        pass
    with pytest.raises(SourceError, match=r"Cannot open .*refused"):
        list(open_source(url.replace("http", scheme)).frames(Ledger()))
