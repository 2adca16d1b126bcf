"""CURVE over real sockets: who is let in, who is not, and what either is told."""

from __future__ import annotations

import json
import os
import socket as plain_socket
import stat
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import zmq
from clips import clip, steady
from commands import command
from tiny_model import write_model

from perception.client import Subscriber
from perception.errors import Timeout
from perception.wire.codecs import MAX_PAYLOAD_BYTES
from perception.wire.curve import ClientKeys, ServerKeys
from perception.wire.encode import Content, Sender
from perception.wire.keys import generate
from perception.wire.outlet import Outlet

PATIENCE_S = 30.0
TIMES = {"published_ns": 1, "published_mono_ns": 1}


class Keys:
    """A folder with the keys of a node and of some clients, and its allow-list."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.allow = folder / "clients"
        self.allow.mkdir()
        for name in ("node", "friend", "stranger"):
            generate(name, folder)
        self.admit("friend")

    def admit(self, name: str) -> None:
        (self.allow / f"{name}.key").write_bytes((self.folder / f"{name}.key").read_bytes())

    @property
    def server(self) -> ServerKeys:
        keys = ServerKeys.load(str(self.folder / "node.key_secret"), str(self.allow))
        assert keys is not None
        return keys

    def client(self, name: str, node: str = "node") -> ClientKeys:
        keys = ClientKeys.load(str(self.folder / f"{node}.key"), str(self.folder / f"{name}.key_secret"))
        assert keys is not None
        return keys


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return Keys(tmp_path)


@contextmanager
def sending(endpoint: str, keys: ServerKeys | None) -> Iterator[Outlet]:
    """An outlet in a thread of its own that sends an event now and then."""
    opened: list[Outlet] = []
    ready, end = threading.Event(), threading.Event()

    def work() -> None:
        outlet = Outlet(endpoint, ["front"], lossless=False, keys=keys)
        opened.append(outlet)
        ready.set()
        sender, content = Sender("front", bytes(16), bytes(8)), Content("event", {"event": {"name": "x", "detail": {}}})
        while not end.is_set():
            outlet.drain()
            outlet.send(sender, content, TIMES)
            outlet.pause(10)
        outlet.close(linger_ms=0)

    thread = threading.Thread(target=work)
    thread.start()
    assert ready.wait(PATIENCE_S)
    try:
        yield opened[0]
    finally:
        end.set()
        thread.join(PATIENCE_S)
        assert not thread.is_alive()


def heard(endpoint: str, keys: ClientKeys | None, patience_s: float) -> str:
    """The kind of the first message, or what the client is told instead."""
    with Subscriber(endpoint, kinds=("labels",), timeout=patience_s, keys=keys) as subscriber:
        try:
            return subscriber.receive().kind
        except Timeout as error:
            return str(error)


@pytest.mark.parametrize("transport", ["tcp", "ipc"])
def test_who_is_on_the_list_is_let_in_and_others_are_told_why_not(keys: Keys, tmp_path: Path, transport: str) -> None:
    with sending("tcp://127.0.0.1:*" if transport == "tcp" else f"ipc://{tmp_path}/s", keys.server) as outlet:
        assert heard(outlet.endpoint, keys.client("friend"), PATIENCE_S) == "event"
        assert heard(outlet.endpoint, keys.client("node"), PATIENCE_S) == "event"  # its own key is
        assert outlet.gate is not None
        assert outlet.gate.refused == 0
        assert "refuses this client's key" in heard(outlet.endpoint, keys.client("stranger"), 1.5)
        assert outlet.gate.refused > 0
        assert "--curve-server" in heard(outlet.endpoint, None, 1.5)
        assert "really its public key" in heard(outlet.endpoint, keys.client("friend", node="stranger"), 1.5)
    with sending("tcp://127.0.0.1:*", None) as outlet:
        assert "one without keys wants neither" in heard(outlet.endpoint, keys.client("friend"), 1.5)


def test_who_is_added_enters_and_who_is_removed_does_not_come_back(keys: Keys) -> None:
    with sending("tcp://127.0.0.1:*", keys.server) as outlet:
        with Subscriber(outlet.endpoint, kinds=("labels",), timeout=1.0, keys=keys.client("stranger")) as subscriber:
            with pytest.raises(Timeout, match="refuses this client's key"):
                subscriber.receive()
            keys.admit("stranger")
            for _ in range(int(PATIENCE_S)):  # every time-out knocks again, and the list is read once a second
                with suppress(Timeout):
                    kind = subscriber.receive().kind
                    break
            assert kind == "event"
        (keys.allow / "stranger.key").unlink()
        (keys.allow / "broken.key").write_text("no key")
        time.sleep(1.1)  # the list is read once a second at most
        # A list that cannot be read lets nobody in.
        assert "refuses" in heard(outlet.endpoint, keys.client("friend"), 1.5)
        assert outlet.gate is not None
        assert "broken.key" in outlet.gate.reason
        (keys.allow / "broken.key").unlink()
        time.sleep(1.1)
        assert heard(outlet.endpoint, keys.client("friend"), PATIENCE_S) == "event"
        assert "refuses" in heard(outlet.endpoint, keys.client("stranger"), 1.5)


def test_nothing_readable_crosses_the_network(keys: Keys) -> None:
    """A relay between client and node sees every byte of both, and finds no topic in them."""
    seen = bytearray()
    with sending("tcp://127.0.0.1:*", keys.server) as outlet, plain_socket.create_server(("127.0.0.1", 0)) as server:
        port = int(outlet.endpoint.rpartition(":")[2])

        def relay() -> None:
            one, _ = server.accept()
            other = plain_socket.create_connection(("127.0.0.1", port))

            def pump(source: plain_socket.socket, target: plain_socket.socket) -> None:
                while data := source.recv(4096):
                    seen.extend(data)
                    try:
                        target.sendall(data)
                    except OSError:
                        return

            threading.Thread(target=pump, args=(one, other), daemon=True).start()
            pump(other, one)
            one.close()
            other.close()

        thread = threading.Thread(target=relay, daemon=True)
        thread.start()
        through = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        assert heard(through, keys.client("friend"), PATIENCE_S) == "event"
    thread.join(PATIENCE_S)
    assert b"CURVE" in seen
    assert b"front" not in seen


def test_the_socket_file_of_a_node_is_not_for_everybody(keys: Keys, tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with sending(f"ipc://{tmp_path}/s", keys.server):
            assert stat.S_IMODE((tmp_path / "s").stat().st_mode) & ~0o660 == 0
    finally:
        os.umask(before)


def test_node_subscriber_and_recorder_with_keys(keys: Keys, tmp_path: Path) -> None:
    pytest.importorskip("mcap", reason="recordings need the extra [record]")
    film, model = clip(tmp_path / "drive.mp4", steady(40)), write_model(tmp_path / "tiny.onnx")
    node = ["--curve-secret", keys.folder / "node.key_secret", "--allow", keys.allow]
    friend = ["--curve-server", keys.folder / "node.key", "--curve-secret", keys.folder / "friend.key_secret"]
    endpoint = f"ipc://{tmp_path}/node"
    run = command("run", film, "--model", model, "--publish", endpoint, "--wait-subscribers", 1, *node)
    with subprocess.Popen(run, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        sub = command("sub", endpoint, "--kind", "image", "--json", "--timeout", PATIENCE_S, *friend)
        told = subprocess.run(sub, capture_output=True, text=True, timeout=2 * PATIENCE_S, check=True)
        assert process.communicate(timeout=PATIENCE_S) is not None
        assert process.returncode == 0
    assert json.loads(told.stdout.splitlines()[-1])["frames"] == 40
    record = command("record", film, "--kind", "image", "-o", tmp_path / "a.mcap", "--model", model, *node)
    subprocess.run(record, check=True, timeout=2 * PATIENCE_S, capture_output=True)
    told = subprocess.run(
        command("record", film, "-o", tmp_path / "b.mcap", "--curve-server", friend[1]),
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    assert told.returncode == 2
    assert "--curve-server is for a running node" in told.stderr


def test_a_gate_that_is_missing_lets_nobody_in_by_accident(keys: Keys) -> None:
    """Two outlets in one process have a context, and so a gate, of their own each."""
    with sending("tcp://127.0.0.1:*", keys.server) as one, sending("tcp://127.0.0.1:*", keys.server) as other:
        for outlet in (one, other):
            assert "refuses" in heard(outlet.endpoint, keys.client("stranger"), 1.5)


def test_a_subscriber_comes_back_to_a_node_that_sent_too_much() -> None:
    """libzmq ends a connection for good that brought a message over the limit."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    node: zmq.Socket[bytes] = context.socket(zmq.XPUB)
    node.linger = 0
    node.setsockopt(zmq.XPUB_VERBOSER, 1)  # tells of every subscription
    port = node.bind_to_random_port("tcp://127.0.0.1")
    with Subscriber(f"tcp://127.0.0.1:{port}", streams=None, kinds=None, timeout=0.5) as subscriber:
        assert node.recv() == b"\x01"
        node.send_multipart([b"front/labels/", bytes(MAX_PAYLOAD_BYTES + 1)])
        for _ in range(int(PATIENCE_S)):
            with suppress(Timeout):
                subscriber.receive()
            if node.poll(0) and node.recv() == b"\x01":
                break
        else:
            pytest.fail("it never came back")
    node.close()
    context.term()
