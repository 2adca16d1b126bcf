"""Cameras that freeze, die and come back, seen by a subscriber of a running node; with a real RTSP server."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from mjpeg_server import Camera, camera_server, until

import perception.node
from perception.client import Subscriber
from perception.config import CameraConfig, NodeConfig
from perception.engines.recorded import RecordedEngine
from perception.errors import SourceError, Timeout
from perception.ledger import Ledger
from perception.run import run
from perception.sources import News, Patience, open_source
from perception.summary import Summary

SERVER = Path(__file__).with_name("gstreamer_server.py")
SYSTEM_PYTHON = "/usr/bin/python3"
PATIENCE_S = 60.0
DEATHS = 50


@pytest.fixture(autouse=True)
def engine(monkeypatch: pytest.MonkeyPatch) -> None:
    labels = np.zeros((1, 48, 64), np.uint8)
    monkeypatch.setattr(
        perception.node, "open_node_engine", lambda *_args, **_kwargs: RecordedEngine({"labels": labels})
    )


class Watched:
    """A node in a thread, and what a subscriber of it saw."""

    def __init__(self, config: NodeConfig) -> None:
        self.frames: dict[str, list[int]] = {camera.stream: [] for camera in config.cameras}
        self.events: list[tuple[str, str, dict[str, object]]] = []
        self.states: dict[str, list[str]] = {camera.stream: [] for camera in config.cameras}
        self.summary: Summary | None = None
        self.lost = 0
        self.interrupt = threading.Event()
        self._config = config
        self._threads = [threading.Thread(target=self._read), threading.Thread(target=self._run)]

    def __enter__(self) -> Watched:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.interrupt.set()
        for thread in self._threads:
            thread.join(PATIENCE_S)
            assert not thread.is_alive()

    def names(self, stream: str) -> list[str]:
        # A busy machine drops, and so does a camera that sends a backlog when it is connected.
        return [name for of, name, _ in self.events if of == stream and name != "drop_burst"]

    def count(self, stream: str) -> int:
        return len(self.frames[stream])

    def _run(self) -> None:
        self.summary = run(self._config, interrupt=self.interrupt)

    def _read(self) -> None:
        kinds = ["labels", "event", "status"]
        with Subscriber(self._config.publish, streams=None, kinds=kinds, timeout=PATIENCE_S) as subscriber:
            try:
                for message in subscriber:
                    if message.kind == "event":
                        self.events.append((message.stream, message.body["name"], dict(message.body["detail"])))
                    elif message.kind == "status":
                        self.states[message.stream].append(str(message.body["state"]))
                    elif message.frame is not None:
                        self.frames[message.stream].append(message.frame)
            except Timeout:
                pass
            self.lost = subscriber.tally.lost


@contextmanager
def gstreamer(port: int = 0) -> Iterator[tuple[subprocess.Popen[str], int]]:
    server = subprocess.Popen([SYSTEM_PYTHON, str(SERVER), str(port)], stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        yield server, int(server.stdout.readline())
    finally:
        server.send_signal(signal.SIGCONT)
        server.kill()
        server.wait()
        assert server.stdout is not None
        server.stdout.close()


@pytest.fixture(scope="module")
def rtsp() -> None:
    """Skip where GStreamer's RTSP server is not installed."""
    ask = "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import Gst, GstRtspServer"
    ask += "; Gst.init(None); assert all(map(Gst.ElementFactory.find, ('x264enc', 'rtph264pay', 'videotestsrc')))"
    try:
        missing = subprocess.run([SYSTEM_PYTHON, "-W", "ignore", "-c", ask], capture_output=True).returncode
    except OSError:
        missing = 1
    if missing:
        pytest.skip("needs GStreamer's RTSP server: see .ci/run for the Debian packages")


@pytest.mark.usefixtures("rtsp")
def test_a_real_rtsp_camera_that_is_late_freezes_dies_and_comes_back(tmp_path: Path) -> None:
    with gstreamer() as (_, port):
        pass  # a port that is free again: the camera is not there yet when the node starts
    config = NodeConfig(
        source=f"rtsp://me:geheim@127.0.0.1:{port}/live",
        publish=f"ipc://{tmp_path}/node",
        stall_timeout=1.0,
        retry_pause=0.3,
        wait_subscribers=1,
    )
    with Watched(config) as node:
        assert until(lambda: node.names("front") == ["reconnecting"], PATIENCE_S)
        with gstreamer(port) as (server, _):
            assert until(lambda: node.names("front") == ["reconnecting", "recovered"], PATIENCE_S)
            assert until(lambda: node.count("front") >= 20, PATIENCE_S)
            server.send_signal(signal.SIGSTOP)
            assert until(lambda: node.names("front")[2:] == ["reconnecting"], PATIENCE_S)
            assert until(lambda: node.states["front"][-1] == "reconnecting", PATIENCE_S)
            server.send_signal(signal.SIGCONT)
            assert until(lambda: node.names("front")[3:] == ["recovered"], PATIENCE_S)
            seen = node.count("front")
            assert until(lambda: node.count("front") >= seen + 20, PATIENCE_S)
        assert until(lambda: node.names("front")[4:] == ["reconnecting"], PATIENCE_S)
        with gstreamer(port):
            assert until(lambda: node.names("front")[5:] == ["recovered"], PATIENCE_S)
            seen = node.count("front")
            assert until(lambda: node.count("front") >= seen + 5, PATIENCE_S)
            assert until(lambda: node.states["front"][-1] == "running", PATIENCE_S)
            node.interrupt.set()
    reasons = [str(detail["reason"]) for _, name, detail in node.events if name == "reconnecting"]
    assert "Cannot open" in reasons[0]
    assert "has frozen" in reasons[1]
    assert "geheim" not in str(node.events)
    assert node.frames["front"] == sorted(set(node.frames["front"]))
    assert node.events[-1][1] == "end_of_stream"
    assert node.summary is not None
    assert node.summary.exit_code == 0
    assert node.summary.frames.balanced
    (stream,) = node.summary.streams
    assert stream.absences == 3
    assert stream.age_ms.p50 is not None
    assert stream.source_size == (320, 240)


def test_a_camera_that_dies_fifty_times() -> None:
    """Each time with garbage, a broken connection, another size, or before its first picture."""
    connections = [0]

    def script(camera: Camera) -> None:
        connections[0] += 1
        if connections[0] > DEATHS:
            camera.begin()
            camera.stream(100_000)
        elif connections[0] % 5 == 0:
            camera.refuse(503)
        elif connections[0] % 5 == 1:
            camera.raw(os.urandom(2000))
        else:
            camera.begin()
            width = 32 * (1 + connections[0] % 3)
            camera.stream(3, width, 48, period_s=0.0)

    told: list[News] = []
    ledger = Ledger()
    numbers: list[int] = []
    sizes = set()
    before = len(list(Path("/proc/self/fd").iterdir()))
    with camera_server(script) as (url, _):
        patience = Patience(give_up_s=None, longest_pause_s=0.01)
        source = open_source(url, patience=patience, tell=told.append)
        for frame in source.frames(ledger):
            ledger.publish(frame.number)
            numbers.append(frame.number)
            sizes.add(frame.size)
            if connections[0] > DEATHS and len(numbers) > 10:
                source.close()
    entry = ledger.entry()
    assert entry.balanced
    assert entry.in_flight == 0
    assert numbers == sorted(set(numbers))
    assert sum(news.name == "reconnecting" for news in told) == DEATHS
    assert sum(news.name == "recovered" for news in told) >= DEATHS // 5
    assert sizes <= {(32, 48), (64, 48), (96, 48)}
    assert len(sizes) > 1
    assert until(lambda: len(list(Path("/proc/self/fd").iterdir())) <= before)
    listed = subprocess.run(["ps", "--ppid", str(os.getpid()), "-o", "args="], capture_output=True, text=True).stdout
    assert "perception.sources.capture" not in listed
    assert "defunct" not in listed


def test_a_camera_that_comes_back_with_a_smaller_picture_is_flagged(tmp_path: Path) -> None:
    widths = iter((64, 32, 96))

    def script(camera: Camera) -> None:
        width = next(widths, 96)
        camera.begin()
        camera.stream(100_000 if width == 96 else 20, width)

    flags: dict[int, set[tuple[str, ...]]] = {64: set(), 32: set(), 96: set()}
    interrupt = threading.Event()
    with camera_server(script) as (url, _):
        config = NodeConfig(source=url, publish=f"ipc://{tmp_path}/node", retry_pause=0.01, wait_subscribers=1)
        thread = threading.Thread(target=run, args=(config,), kwargs={"interrupt": interrupt})
        thread.start()
        with Subscriber(config.publish, kinds=["labels"], timeout=PATIENCE_S) as subscriber:
            for message in subscriber:
                assert message.header.frame is not None
                flags[message.header.frame.source_size[0]].add(message.header.flags)
                if flags[96]:
                    break
        interrupt.set()
        thread.join(PATIENCE_S)
    assert flags == {64: {()}, 32: {("degraded",)}, 96: {()}}


def test_a_camera_that_stays_away_is_given_up() -> None:
    def script(camera: Camera) -> None:
        camera.refuse(404)

    with camera_server(script) as (url, _):
        patience = Patience(give_up_s=2.0, longest_pause_s=0.1)
        told: list[News] = []
        source = open_source(url, patience=patience, tell=told.append)
        with pytest.raises(SourceError, match=r"404 Not Found.* Gave up after \d+ s and \d+ attempts"):
            list(source.frames(Ledger()))
    assert told[0].detail["attempt"] == 1
    with pytest.raises(SourceError, match="Cannot open"):
        list(open_source(url, patience=Patience(give_up_s=None, wait_for_first=False)).frames(Ledger()))
    wait = open_source("/dev/video_of_a_test", wait_for_device=True)
    with pytest.raises(SourceError, match="Cannot open '/dev/video_of_a_test'"):
        list(wait.frames(Ledger()))


def forever(camera: Camera) -> None:
    camera.begin()
    camera.stream(100_000)


@contextmanager
def several(scripts: dict[str, Callable[[Camera], None]], folder: Path) -> Iterator[Watched]:
    """A node with a camera for every script."""
    servers = {name: camera_server(script) for name, script in scripts.items()}
    urls = {name: server.__enter__()[0] for name, server in servers.items()}
    config = NodeConfig(
        camera=tuple(
            CameraConfig(source=url, stream=name, stall_timeout=1.0, retry_pause=0.3) for name, url in urls.items()
        ),
        publish=f"ipc://{folder}/node",
        wait_subscribers=1,
    )
    try:
        with Watched(config) as node:
            yield node
    finally:
        for server in servers.values():
            server.__exit__(None, None, None)


def test_a_dead_camera_holds_no_other_up(tmp_path: Path) -> None:
    """One never answers, one freezes for good, one is killed: the fourth goes on, and each says its own."""

    def freezes(camera: Camera) -> None:
        camera.begin()
        camera.stream(10)
        camera.stop.wait()

    scripts = {"well": forever, "mute": lambda camera: camera.stop.wait() and None, "cold": freezes, "hit": forever}
    with several(scripts, tmp_path) as node:
        assert until(lambda: min(node.count("well"), node.count("hit")) >= 20, PATIENCE_S)
        assert until(lambda: "reconnecting" in node.names("cold"), PATIENCE_S)
        for pid in captures():
            os.kill(pid, signal.SIGKILL)  # of all cameras, at one blow
        assert until(lambda: {"reconnecting", "recovered"} <= set(node.names("hit")), PATIENCE_S)
        assert until(lambda: {"reconnecting", "recovered"} <= set(node.names("well")), PATIENCE_S)
        seen = node.count("well")
        assert until(lambda: node.count("well") >= seen + 20, PATIENCE_S)
        node.interrupt.set()
    assert node.count("mute") == 0
    assert node.summary is not None
    assert node.summary.frames.balanced
    assert all(stream.frames.balanced for stream in node.summary.streams)
    assert {stream.stream: stream.frames.captured for stream in node.summary.streams}["mute"] == 0
    assert [name for _, name, _ in node.events[-4:]] == ["end_of_stream"] * 4


def captures() -> list[int]:
    listed = subprocess.run(["ps", "--ppid", str(os.getpid()), "-o", "pid=,args="], capture_output=True, text=True)
    return [int(line.split()[0]) for line in listed.stdout.splitlines() if "perception.sources.capture" in line]


def test_a_camera_that_is_given_up_ends_its_stream_alone(tmp_path: Path) -> None:
    with camera_server(forever) as (well, _), camera_server(lambda camera: camera.refuse(404)) as (gone, _):
        config = NodeConfig(
            camera=(CameraConfig(source=well, stream="well"), CameraConfig(source=gone, stream="gone", give_up=0)),
            publish=f"ipc://{tmp_path}/node",
            wait_subscribers=1,
        )
        with Watched(config) as node:
            assert until(lambda: node.names("gone") == ["end_of_stream"], PATIENCE_S)
            seen = node.count("well")
            assert until(lambda: node.count("well") >= seen + 10, PATIENCE_S)
            node.interrupt.set()
    assert node.events[0][2]["state"] == "failed"
    assert "404" in str(node.events[0][2]["error"])
    assert node.names("well") == ["end_of_stream"]
    assert node.summary is not None
    assert [stream.reason for stream in node.summary.streams] == ["interrupted", "source_error"]


def test_an_interruption_does_not_wait_for_a_camera(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The threads may take an hour to end, and so may the camera to answer: a node that waits never ends this test."""
    monkeypatch.setattr(perception.node, "THREADS_GRACE_S", 3600.0)
    connected = threading.Event()

    def mute(camera: Camera) -> None:
        connected.set()
        camera.stop.wait()

    with camera_server(mute) as (url, _):
        config = NodeConfig(source=url, publish=f"ipc://{tmp_path}/node", open_timeout=3600.0, wait_subscribers=1)
        with Watched(config) as node:
            assert connected.wait(PATIENCE_S)
            node.interrupt.set()
    assert node.summary is not None
    assert node.summary.reason == "interrupted"
    assert node.summary.threads_left == ()


def test_so_many_frames_of_every_camera(tmp_path: Path) -> None:
    with camera_server(forever) as (one, _), camera_server(forever) as (two, _):
        config = NodeConfig(
            camera=(CameraConfig(source=one, stream="one"), CameraConfig(source=two, stream="two")),
            publish=f"ipc://{tmp_path}/node",
            wait_subscribers=1,
            frames=15,
        )
        with Watched(config) as node:
            assert until(lambda: node.summary is not None, PATIENCE_S)
    assert node.summary is not None
    assert node.summary.reason == "frame_limit"
    assert [stream.frames.published for stream in node.summary.streams] == [15, 15]
    assert node.summary.frames.balanced
    assert {len(set(frames)) for frames in node.frames.values()} == {15}


def test_the_capture_does_not_load_what_it_does_not_need() -> None:
    """Every tenth of a second that it takes to start is one that a camera is away for longer."""
    script = "import perception.sources.capture, sys; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout.split()
    assert not {"cv2", "onnxruntime", "zmq"} & set(loaded)
