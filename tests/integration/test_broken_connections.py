"""Connections that break while a queue is full: libzmq's heartbeats would end the process (its issue 4364)."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import zmq

PATIENCE_S = 60.0
HEARTBEATS_S = 2.5  # more than two of one second
LARGE = bytes(4000)

# Each takes in nothing until it is told to, and then says what came.
SUBSCRIBER = """
from perception.client import Subscriber
from perception.errors import Timeout, WireError
with Subscriber({endpoint!r}, queue=4) as subscriber:
    print("ready", flush=True)
    input()
    count = 0
    while True:
        try:
            subscriber.receive(0.5)
        except WireError:
            count += 1
        except Timeout:
            break
    print("alive", count)
"""
CONTROL = """
import time
from perception.control.socket import ControlSocket
control = ControlSocket({endpoint!r})
print("ready", flush=True)
input()
count, end = 0, time.monotonic() + 1.0
while time.monotonic() < end:
    count += len(control.receive())
print("alive", count)
"""
OUTLET = """
import time
from perception.wire.outlet import Outlet
outlet = Outlet({endpoint!r}, ["front"], lossless=False)
print("ready", flush=True)
input()
end = time.monotonic() + 1.0
while time.monotonic() < end:
    outlet.drain()
print("alive", outlet.audience.subscribers)
"""


def publish(endpoint: str, started: Callable[[], None]) -> None:
    """A node that sends more than the subscriber takes in."""
    with zmq.Context() as context, context.socket(zmq.XPUB) as node:
        node.linger = 0
        node.bind(endpoint)
        started()
        assert node.poll(PATIENCE_S * 1000)
        for _ in range(300):
            node.send_multipart([b"front/labels/", LARGE])
        time.sleep(0.3)


def ask(endpoint: str, started: Callable[[], None]) -> None:
    """A client that asks for more than the node takes in."""
    started()
    with zmq.Context() as context, context.socket(zmq.DEALER) as client:
        client.linger, client.sndtimeo = 0, 500
        client.connect(endpoint)
        with suppress(zmq.Again):
            for _ in range(3000):
                client.send(LARGE)


def subscribe(endpoint: str, started: Callable[[], None]) -> None:
    """A peer that subscribes to more than libzmq takes in by itself."""
    started()
    with zmq.Context() as context, context.socket(zmq.XSUB) as peer:
        peer.linger = 0
        peer.setsockopt(zmq.SNDHWM, 0)
        peer.connect(endpoint)
        for number in range(5000):
            peer.send(b"\x01front/labels/%d" % number)
        time.sleep(0.3)


@pytest.mark.parametrize(
    ("program", "peer"),
    [(SUBSCRIBER, publish), (CONTROL, ask), (OUTLET, subscribe)],
    ids=["subscriber", "control socket", "publisher"],
)
def test_a_connection_that_breaks_while_its_queue_is_full_ends_nobody(
    tmp_path: Path, program: str, peer: Callable[[str, Callable[[], None]], None]
) -> None:
    endpoint = f"ipc://{tmp_path}/socket"
    process = subprocess.Popen(
        [sys.executable, "-c", program.format(endpoint=endpoint)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )

    def started() -> None:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"

    try:
        peer(endpoint, started)
        time.sleep(HEARTBEATS_S)
        out, err = process.communicate("\n", timeout=PATIENCE_S)
    finally:
        process.kill()
        process.communicate()
    assert (process.returncode, err) == (0, "")
    assert out.startswith("alive")
