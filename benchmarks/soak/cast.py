"""Who takes part in the soak: four cameras, the node, a subscriber that suffers; each a process that can be hurt."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
GSTREAMER = HERE.parents[1] / "tests" / "integration" / "gstreamer_server.py"
SYSTEM_PYTHON = "/usr/bin/python3"  # has GStreamer's bindings
CAPTURE = b"perception.sources.capture"
PATIENCE_S = 30.0


def free_port() -> int:
    """A port of the loopback that nobody has just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Camera:
    """A server that plays a folder of pictures in a loop; ``kind`` is gstreamer, rtsp or mjpeg."""

    def __init__(self, stream: str, kind: str, folder: Path, fps: int) -> None:
        self.stream, self.kind = stream, kind
        self.port = free_port()
        self._folder, self._fps = folder, fps
        self.uri = f"http://127.0.0.1:{self.port}/video" if kind == "mjpeg" else f"rtsp://127.0.0.1:{self.port}/live"
        self.start()

    def start(self) -> None:
        """Begin to serve, always on the same port; returns when it listens."""
        if self.kind == "gstreamer":
            command = [SYSTEM_PYTHON, str(GSTREAMER), str(self.port), f"{self._folder}/%03d.jpg", str(self._fps)]
        else:
            command = [sys.executable, str(HERE / "camera.py"), self.kind, str(self.port), str(self._folder)]
            command.append(str(self._fps))
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert self.process.stdout is not None
        if not self.process.stdout.readline():
            hint = " GStreamer's Debian packages are named in .ci/run." if self.kind == "gstreamer" else ""
            raise SystemExit(f"The camera {self.stream!r} does not start: {' '.join(command)}.{hint}")

    def signal(self, number: signal.Signals) -> None:
        """SIGSTOP and SIGCONT freeze and wake it; for the others see camera.py."""
        self.process.send_signal(number)

    def kill(self) -> None:
        """End it at once, as a power cut does."""
        self.process.send_signal(signal.SIGCONT)
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


class Node:
    """``roadcast run`` on the cameras, its wall clock at our mercy."""

    def __init__(self, cameras: list[Camera], folder: Path, *, stall_s: float, size: str) -> None:
        self.endpoint = f"tcp://127.0.0.1:{free_port()}"
        self.metrics = f"127.0.0.1:{free_port()}"
        self.clock = folder / "clock"
        self.step_clock(0)
        self.log = folder / "node.log"
        config = folder / "soak.toml"
        config.write_text(_toml(cameras, self.endpoint, self.metrics, stall_s, size))
        environment = {**os.environ, "SOAK_CLOCK": str(self.clock)}
        environment["PYTHONPATH"] = os.pathsep.join([str(HERE / "clock"), *filter(None, [os.getenv("PYTHONPATH")])])
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "perception", "run", "--config", str(config), "--json"],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )

    @property
    def captures(self) -> list[int]:
        """Process ids of the captures that run now."""
        return [pid for pid in children_of(self.process.pid) if CAPTURE in _command_of(pid)]

    def step_clock(self, offset_s: float) -> None:
        """From now on its wall clock, and that of its captures, is ahead of this machine's by so much."""
        data = round(offset_s * 1e9).to_bytes(8, "little", signed=True)
        with self.clock.open("r+b" if self.clock.exists() else "wb") as file:
            file.write(data)

    def end(self) -> tuple[int, Mapping[str, Any], str]:
        """Ask it to end; its exit code, its summary, and what it complained of."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            said, _ = self.process.communicate(timeout=PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            said, _ = self.process.communicate()
        complaints = [line for line in self.log.read_text(errors="replace").splitlines() if '"level": "error"' in line]
        code = self.process.returncode
        return code, json.loads(said) if said.strip() else {}, complaints[-1] if complaints else ""


class Reader:
    """A subscriber in a process of its own, and what it says of itself."""

    def __init__(self, endpoint: str) -> None:
        self.heard_s = 0.0
        self.said: Mapping[str, Any] = {}
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "reader.py"), endpoint], stdout=subprocess.PIPE, text=True
        )
        threading.Thread(target=self._listen, daemon=True).start()

    def kill(self) -> None:
        """End it at once."""
        self.process.kill()
        self.process.wait()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                self.said, self.heard_s = json.loads(line), time.monotonic()


def children_of(pid: int) -> list[int]:
    """Process ids of the children of a process, those of each of its threads."""
    children: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):  # a thread that has just ended
            children += map(int, task.read_text().split())
    return sorted(children)


def _command_of(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def _toml(cameras: list[Camera], endpoint: str, metrics: str, stall_s: float, size: str) -> str:
    settings = {
        "publish": endpoint,
        "metrics": metrics,
        "log_format": "json",
        "stall_timeout": stall_s,
        "retry_pause": 1.0,
        "threads": 1,
        "size": size,
        "wait_subscribers": 1,
    }
    lines = [f"{name} = {json.dumps(value)}" for name, value in settings.items()]
    for camera in cameras:
        lines += ["[[camera]]", f'stream = "{camera.stream}"', f'source = "{camera.uri}"']
    return "\n".join(lines) + "\n"
