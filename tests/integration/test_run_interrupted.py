"""``roadcast run`` in a process of its own: Ctrl-C in every state."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import zmq
from clips import clip, steady
from commands import PATIENCE_S, environment, running

ENDS_WITHIN_S = 20.0  # promised are 2; a machine that does ten other things gets more, a hang does not pass


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return clip(tmp_path_factory.mktemp("run") / "drive.mp4", steady(200))


def interrupted(process: subprocess.Popen[str], number: int = signal.SIGINT) -> tuple[int, str, str]:
    """The exit code and the rest of the output of a process that gets this signal now."""
    process.send_signal(number)
    started = time.monotonic()
    out, err = process.communicate(timeout=PATIENCE_S)
    assert time.monotonic() - started < ENDS_WITHIN_S
    assert "Traceback" not in err
    return process.returncode, out, err


def check_interrupted(code: int, out: str) -> None:
    summary = json.loads(out)
    assert code == 0
    assert summary["reason"] == "interrupted"
    frames = summary["frames"]
    assert frames["in_flight"] == 0
    assert frames["captured"] == frames["published"] + sum(frames["dropped"].values())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_while_running(film: Path, endpoint: str, number: int) -> None:
    with running(film, "--engine", "simulated://", "--publish", endpoint, "--json", says=" fps |") as process:
        code, out, err = interrupted(process, number)
    check_interrupted(code, out)
    assert "interrupted after" in err


def test_ctrl_c_while_waiting_for_subscribers(film: Path, endpoint: str) -> None:
    args = (film, "--engine", "simulated://", "--publish", endpoint, "--wait-subscribers", 2, "--json")
    with running(*args, says="0 of 2") as process:
        code, out, _ = interrupted(process)
    check_interrupted(code, out)


def test_ctrl_c_while_the_engine_warms_up(film: Path, endpoint: str) -> None:
    with running(film, "--engine", "simulated://?infer_ms=60000", "--publish", endpoint, says="warming up") as process:
        code, _, err = interrupted(process)
    assert code == 0
    assert "interrupted before the node was ready" in err


def test_ctrl_c_while_a_camera_does_not_answer(endpoint: str) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        address = f"http://127.0.0.1:{silent.getsockname()[1]}/video"
        with running(
            address, "--engine", "simulated://", "--publish", endpoint, "--json", says="waiting for frames"
        ) as process:
            code, out, _ = interrupted(process)
    check_interrupted(code, out)


@contextmanager
def running_with(patch: str, *args: object) -> Iterator[subprocess.Popen[str]]:
    """A node whose process runs ``patch`` first, from the moment that frames flow."""
    arguments = ["run", *map(str, args)]
    script = f"import sys\nfrom perception.cli.main import main\n{patch}\nsys.exit(main({arguments!r}))"
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment()
    )
    try:
        assert process.stderr is not None
        while " fps |" not in process.stderr.readline():
            assert process.poll() is None
        yield process
    finally:
        process.kill()
        process.communicate()


def test_ctrl_c_while_a_subscriber_blocks_the_node(tmp_path: Path, endpoint: str) -> None:
    film = clip(tmp_path / "long.mp4", steady(2000))
    patience = "import perception.publisher; perception.publisher.PATIENCE_S = 600"  # not 5 s: blocked for good
    with zmq.Context() as context, context.socket(zmq.SUB) as stalled:
        stalled.set_hwm(1)
        stalled.setsockopt(zmq.LINGER, 0)
        stalled.subscribe(b"")
        stalled.connect(endpoint)
        args = (film, "--engine", "simulated://?infer_ms=0", "--publish", endpoint, "--wait-subscribers", 1)
        with running_with(patience, *args, "--pace", "max", "--policy", "wait", "--json") as process:
            time.sleep(1.0)
            code, out, _ = interrupted(process)
    check_interrupted(code, out)
    assert json.loads(out)["frames"]["published"] < 2000


def test_ctrl_c_while_the_engine_is_stuck(film: Path, endpoint: str) -> None:
    """A driver that hangs in a thread that Python would wait for must not hold up the process either."""
    stuck = """
import threading
from concurrent.futures import ThreadPoolExecutor
import perception.node
from perception.engines.simulated import SimulatedEngine

class Stuck(SimulatedEngine):
    def close(self):
        ThreadPoolExecutor(1).submit(threading.Event().wait).result()

perception.node.open_node_engine = lambda *args, **kwargs: Stuck(infer_ms=1)
"""
    with running_with(stuck, film, "--publish", endpoint, "--json") as process:
        code, out, err = interrupted(process)
    check_interrupted(code, out)
    assert "closing the engine did not end in time" in err


def test_a_second_ctrl_c_ends_at_once(film: Path, endpoint: str) -> None:
    slow = "import time, perception.node; perception.node.Node.halt = lambda node: time.sleep(600)"
    with running_with(slow, film, "--publish", endpoint, "--engine", "simulated://") as process:
        process.send_signal(signal.SIGINT)
        time.sleep(0.5)
        code, _, _ = interrupted(process)
    assert code == 130
