"""The child process that captures a live camera: killed, stopped, refused, and never left behind."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import cast

import pytest
from mjpeg_server import camera_server, until
from watched import STALL_S, forever, no_children, publish_all, watch

from perception.errors import SourceError
from perception.ledger import Ledger
from perception.sources import Patience, open_source
from perception.sources.child import CaptureProcess
from perception.sources.live import LiveCamera, _Count


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
        next(frames)  # the newest one: how many came before it depends on how busy the machine is
        frames.close()  # type: ignore[attr-defined]
        assert len(refused) == 3
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
