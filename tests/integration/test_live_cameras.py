"""Live cameras against a server on loopback that freezes, lies, changes and dies; and the child process itself."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from clips import clip, steady
from mjpeg_server import Camera, Script, camera_server, until
from rtsp_server import rtsp_server

from perception.errors import SourceError
from perception.ledger import Ledger, LedgerEntry
from perception.sources import Patience, open_source
from perception.sources.child import CaptureProcess
from perception.sources.live import LiveCamera, _Count
from perception.types import Frame

STALL_S = 1.0


def watch(
    script: Script, frames_wanted: int | None = None, login: str = "", pause_s: float = 0
) -> tuple[list[Frame], LedgerEntry, SourceError | None]:
    """Frames of a camera that runs this script, until it ends or so many have come."""
    frames: list[Frame] = []
    ledger, error = Ledger(), None
    with camera_server(script) as (url, _):
        source = open_source(url.replace("//", f"//{login}"), stream="rear", patience=Patience(stall_s=STALL_S))
        iterator = source.frames(ledger)
        try:
            for frame in iterator:
                ledger.publish(frame.number)
                frames.append(frame)
                time.sleep(pause_s)
                if len(frames) == frames_wanted:
                    break
        except SourceError as caught:
            error = caught
        finally:
            iterator.close()  # type: ignore[attr-defined]
            source.close()
    entry = ledger.entry()
    assert entry.balanced
    assert entry.in_flight == 0
    assert entry.published == len(frames)
    assert no_children()
    return frames, entry, error


def publish_all(frames: Iterator[Frame], ledger: Ledger) -> None:
    for frame in frames:
        ledger.publish(frame.number)


def no_children() -> bool:
    """Whether every capture was ended and waited for: no zombie, no survivor."""
    listed = subprocess.run(["ps", "--ppid", str(os.getpid()), "-o", "args="], capture_output=True, text=True)
    return "perception.sources.capture" not in listed.stdout and "defunct" not in listed.stdout


def forever(camera: Camera) -> None:
    camera.begin()
    camera.stream(100_000)


def then_freeze(camera: Camera) -> None:
    camera.begin()
    camera.stream(10)
    camera.stop.wait()


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


def camera_in(url: str, stall_s: float = STALL_S) -> LiveCamera:
    camera = open_source(url, patience=Patience(stall_s=stall_s))
    assert isinstance(camera, LiveCamera)
    return camera


def test_a_capture_that_is_killed_is_an_error() -> None:
    with camera_server(forever) as (url, _):
        camera = camera_in(url)
        frames = camera.frames(Ledger())
        next(frames)
        os.kill(capture_of(camera), signal.SIGKILL)
        with pytest.raises(SourceError, match="is gone: the capturing process was killed by signal 9"):
            list(frames)
        assert no_children()


def test_a_capture_that_is_stopped_counts_as_frozen() -> None:
    with camera_server(forever) as (url, _):
        camera = camera_in(url)
        frames = camera.frames(Ledger())
        next(frames)
        os.kill(capture_of(camera), signal.SIGSTOP)
        with pytest.raises(SourceError, match=r"no frame for 1 s|does not run"):
            list(frames)
        assert no_children()


def capture_of(camera: LiveCamera) -> int:
    process = camera._process
    assert isinstance(process, CaptureProcess)
    return process.pid


def test_the_capture_ignores_ctrl_c_and_ends_with_the_node() -> None:
    """The node is killed with SIGKILL, so it cannot tidy up; the capture must go by itself."""
    program = (
        "import sys\n"
        "from perception.ledger import Ledger\n"
        "from perception.sources import open_source\n"
        "camera = open_source(sys.argv[1])\n"
        "for frame in camera.frames(Ledger()):\n"
        "    print(camera._process.pid, flush=True)\n"
    )
    with camera_server(forever) as (url, _):
        node = subprocess.Popen([sys.executable, "-c", program, url], stdout=subprocess.PIPE, text=True)
        assert node.stdout is not None
        pid = int(node.stdout.readline())
        for number in (signal.SIGINT, signal.SIGTERM):
            os.kill(pid, number)
        for _ in range(20):
            assert int(node.stdout.readline()) == pid
        node.kill()
        node.wait(20)
        node.stdout.close()
        assert until(lambda: not Path(f"/proc/{pid}").exists() or "Z" in Path(f"/proc/{pid}/stat").read_text())


def test_the_next_capture_gets_ready_while_the_camera_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("perception.sources.patience.FIRST_PAUSE_S", 600.0)
    with camera_server(forever) as (url, served):

        def still() -> bool:
            sent = served[0]
            time.sleep(0.3)
            return served[0] == sent

        camera = open_source(url, patience=Patience(give_up_s=None, longest_pause_s=600.0))
        assert isinstance(camera, LiveCamera)
        ledger = Ledger()
        thread = threading.Thread(target=publish_all, args=(camera.frames(ledger), ledger))
        thread.start()
        assert until(lambda: ledger.entry().published > 0)
        first = capture_of(camera)
        os.kill(first, signal.SIGKILL)
        assert until(lambda: capture_of(camera) != first)
        assert until(still)  # the next one runs, and has not connected
        camera.close()
        thread.join(timeout=10)
        assert not thread.is_alive()
    assert no_children()


def test_a_machine_without_processes_is_a_camera_that_cannot_be_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    start, refused = subprocess.Popen, []

    def popen(*args: object, **kwargs: object) -> subprocess.Popen[bytes]:
        if len(refused) < 3:
            refused.append(kwargs["pass_fds"])
            raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
        return start(*args, **kwargs)  # type: ignore[call-overload, no-any-return]

    def files() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    watch(forever, 1)
    before, ledger, news = files(), Ledger(), []
    with camera_server(forever) as (url, _):
        camera = open_source(url, patience=Patience(give_up_s=None, longest_pause_s=0.01), tell=news.append)
        monkeypatch.setattr("perception.sources.child.subprocess.Popen", popen)
        frames = camera.frames(ledger)
        assert next(frames).number == 0
        assert len(refused) == 3
        frames.close()  # type: ignore[attr-defined]
        assert [found.name for found in news] == ["reconnecting"] * 3 + ["recovered"]
        assert "no process could be started to read it (Resource temporarily unavailable)" in news[0].detail["reason"]
    assert until(lambda: files() <= before)


def test_a_capture_that_cannot_be_asked_any_more_ends_its_connection_all_the_same() -> None:
    class Stuck:
        def take(self) -> None:
            return None

        def totals(self) -> tuple[int, int]:
            raise TimeoutError

    ledger = Ledger()
    _Count(ledger).rest(cast(CaptureProcess, Stuck()))
    assert ledger.entry().captured == 0


def test_nothing_is_left_behind() -> None:
    def state() -> tuple[int, list[str]]:
        # The shared memory has no name: it can only be left behind as an open file.
        return len(list(Path("/proc/self/fd").iterdir())), sorted(thread.name for thread in threading.enumerate())

    watch(forever, 3)
    before = state()
    for _ in range(3):
        watch(forever, 3)
    assert until(lambda: state() == before)


def test_the_password_is_not_in_the_list_of_processes() -> None:
    with camera_server(forever) as (url, _):
        camera = camera_in(url.replace("//", "//me:geheim@"))
        frames = camera.frames(Ledger())
        next(frames)
        command = Path(f"/proc/{capture_of(camera)}/cmdline").read_bytes()
        frames.close()  # type: ignore[attr-defined]
    assert b"perception.sources.capture" in command
    assert b"geheim" not in command


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
