"""A node as operators run it: a service manager, Prometheus and a collector of logs at once."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest
from clips import clip, steady
from commands import environment
from tiny_model import write_model

from perception.client import Subscriber
from perception.errors import ConfigError, EndpointError
from perception.operations.board import Board
from perception.operations.server import AT_ONCE, serve

PATIENCE_S = 60.0
ROOT = Path(__file__).parents[2]


def get(address: str, path: str, verb: str = "GET") -> tuple[int, str]:
    host, _, port = address.rpartition(":")
    connection = http.client.HTTPConnection(host.strip("[]"), int(port), timeout=PATIENCE_S)
    try:
        connection.request(verb, path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def eventually(condition, what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


@contextmanager
def told_manager(path: Path) -> Iterator[list[str]]:
    """What a service manager at this socket is told, line by line; it reads all the time, as systemd does."""
    told: list[str] = []
    end = threading.Event()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(path))
        manager.settimeout(0.1)

        def listen() -> None:
            while not end.is_set():
                with suppress(TimeoutError):
                    told.extend(manager.recv(4096).decode().split("\n"))

        thread = threading.Thread(target=listen)
        thread.start()
        try:
            yield told
        finally:
            end.set()
            thread.join()


def test_a_node_under_a_service_manager_with_metrics_and_logs(tmp_path: Path) -> None:
    film, model = clip(tmp_path / "drive.mp4", steady(60)), write_model(tmp_path / "tiny.onnx")
    metrics, endpoint = f"127.0.0.1:{free_port()}", f"ipc://{tmp_path}/node"
    with told_manager(tmp_path / "notify") as told:
        command = [sys.executable, "-m", "perception", "run", film, "--pace", "max", "--publish", endpoint]
        command += ["--model", model, "--metrics", metrics, "--log-format", "json", "--wait-subscribers", "2"]
        variables = environment() | {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "1000000"}
        with subprocess.Popen(list(map(str, command)), stderr=subprocess.PIPE, text=True, env=variables) as process:
            eventually(lambda: "READY=1" in told or process.poll() is not None, "the manager never heard READY=1")
            assert get(metrics, "/readyz")[0] == get(metrics, "/healthz")[0] == 200
            assert json.loads(get(metrics, "/readyz")[1])["streams"] == {"front": "starting"}
            eventually(lambda: "WATCHDOG=1" in told, "the watchdog was never fed")
            with Subscriber(endpoint, timeout=PATIENCE_S) as one, Subscriber(endpoint, timeout=PATIENCE_S) as other:
                assert next(one.scenes()).number == 0
                eventually(lambda: 'captured_total{stream="front"} 0' not in get(metrics, "/metrics")[1], "no frames")
                assert 'roadcast_frames_dropped_total{stream="front",reason="stale"} 0' in get(metrics, "/metrics")[1]
                assert 'model="tiny"' in get(metrics, "/metrics")[1]
                process.send_signal(signal.SIGTERM)
                assert other.receive().stream == "front"
            err = process.stderr.read() if process.stderr else ""
            assert process.wait(PATIENCE_S) == 0
        eventually(lambda: "STOPPING=1" in told, "the manager never heard STOPPING=1")
    lines = [json.loads(line) for line in err.splitlines()]
    assert [line["event"] for line in lines if line["event"] in ("ready", "ended")] == ["ready", "ended"]
    assert lines[-1]["reason"] == "interrupted"
    assert lines[-1]["frames"]["in_flight"] == 0
    with pytest.raises(OSError, match="refused"):
        get(metrics, "/metrics")


def test_errors_of_a_start_are_lines_of_json_too(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        film = clip(tmp_path / "drive.mp4", steady(3))
        command = [sys.executable, "-m", "perception", "run", film, "--metrics", address, "--log-format", "json"]
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == 3
    line = json.loads(done.stderr)
    assert (line["level"], line["event"], line["exit_code"]) == ("error", "error", 3)
    assert f"Cannot serve metrics at {address}: address already in use" in line["message"]


def test_the_port_of_the_metrics_survives_what_comes() -> None:
    with serve("127.0.0.1:0", Board()) as address:
        port = int(address.rpartition(":")[2])
        assert get(address, "/metrics", "HEAD") == (200, "")
        assert get(address, "/nowhere")[0] == 404
        assert get(address, "/metrics", "POST")[0] == 501
        assert get(address, "/readyz")[0] == 503  # nothing was shown yet
        for garbage in (b"\x00" * 3000, b"GET /metrics", b"GET " + b"/" * 70_000 + b" HTTP/1.1\r\n\r\n", b"\r\n\r\n"):
            with socket.create_connection(("127.0.0.1", port)) as connection:
                connection.sendall(garbage)
        before = threading.active_count()
        idle = [socket.create_connection(("127.0.0.1", port)) for _ in range(4 * AT_ONCE)]
        eventually(lambda: threading.active_count() >= before, "nobody served")
        assert threading.active_count() <= before + AT_ONCE
        for connection in idle:
            connection.close()

        def served() -> bool:
            try:
                return get(address, "/metrics")[0] == 200
            except (OSError, http.client.HTTPException):
                return False

        eventually(served, "it does not serve any more")


def test_who_says_a_byte_now_and_then_does_not_keep_the_port_of_the_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("perception.operations.server.LONGEST_S", 1.0)
    with serve("127.0.0.1:0", Board()) as address, ExitStack() as parts:
        at = ("127.0.0.1", int(address.rpartition(":")[2]))
        slow = [parts.enter_context(socket.create_connection(at)) for _ in range(AT_ONCE)]

        def served() -> bool:
            for connection in slow:
                with suppress(OSError):
                    connection.sendall(b"G")
            try:
                return get(address, "/metrics")[0] == 200
            except (OSError, http.client.HTTPException):
                return False

        eventually(served, "they keep the port to themselves")


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.1:99999", "a b:1", "::1:9090"])
def test_addresses_that_are_none(address: str) -> None:
    with pytest.raises(ConfigError, match="HOST:PORT"), serve(address, Board()):
        pass


def test_an_address_of_another_machine() -> None:
    with pytest.raises(EndpointError, match="Cannot serve metrics"), serve("192.0.2.1:9090", Board()):
        pass
