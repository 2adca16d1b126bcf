"""Attackers of ``fuzz.py``, each on a port that is open and at work; after it, a well-behaved client must be served."""

from __future__ import annotations

import http.client
import random
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import zmq

from perception.client import Subscriber
from perception.errors import Timeout, WireError
from perception.wire.codecs import MAX_PAYLOAD_BYTES
from perception.wire.curve import ClientKeys, ServerKeys
from perception.wire.encode import Content, Sender
from perception.wire.keys import generate
from perception.wire.outlet import MAX_REQUEST_BYTES, Outlet

PATIENCE_S = 60.0
TIMES = {"published_ns": 1, "published_mono_ns": 1}
# The beginning of ZMTP 3.1: whoever sends it is taken for a peer.
GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x01"
MECHANISMS = (b"NULL", b"CURVE", b"PLAIN", b"\xff" * 20)


@contextmanager
def attack_node(chance: random.Random, *, guarded: bool) -> Iterator[Callable[[], bool]]:
    """What attacks a node's socket once: a peer that says something wild, or bytes that are no ZMTP at all."""
    with tempfile.TemporaryDirectory() as name, serving(keys_in(Path(name)) if guarded else None) as endpoint:
        port = int(endpoint.rpartition(":")[2])
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        peer: zmq.Socket[bytes] = context.socket(zmq.XSUB)
        peer.linger = 0
        peer.setsockopt(zmq.SNDHWM, 100)
        peer.connect(endpoint)

        def attack() -> bool:
            if chance.random() < 0.1:
                return throw(port, wild_bytes(chance))
            with suppress(zmq.Again):
                peer.send_multipart(wild_request(chance), zmq.NOBLOCK)
                return True
            return False

        try:
            yield attack
        finally:
            peer.close()
            context.term()
        client = None
        if guarded:
            client = ClientKeys.load(f"{name}/node.key", f"{name}/friend.key_secret")
        with Subscriber(endpoint, kinds=("labels",), timeout=PATIENCE_S, keys=client) as subscriber:
            subscriber.receive()


@contextmanager
def attack_subscriber(make: Callable[[], list[bytes]]) -> Iterator[Callable[[], bool]]:
    """What lets a subscriber receive one hostile message; now and then one that is larger than any may be."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    node: zmq.Socket[bytes] = context.socket(zmq.XPUB)
    node.linger = 0
    node.setsockopt(zmq.XPUB_VERBOSER, 1)  # tells of every subscription
    port = node.bind_to_random_port("tcp://127.0.0.1")
    with Subscriber(f"tcp://127.0.0.1:{port}", streams=None, kinds=None, timeout=PATIENCE_S) as subscriber:
        node.recv()  # its subscription
        node.send_multipart([b"front/labels/", bytes(MAX_PAYLOAD_BYTES + 1)])  # libzmq cuts such a node off
        asked = b""
        while asked != b"\x01":  # and the subscriber comes back
            with suppress(Timeout):
                subscriber.receive(0.5)
            if node.poll(0):
                asked = node.recv()

        def attack() -> bool:
            taken = subscriber.tally.rejected + subscriber.tally.unknown
            node.send_multipart(make() or [b""])
            while subscriber.tally.rejected + subscriber.tally.unknown == taken:
                with suppress(Timeout, WireError):  # a message of an unknown kind is counted, and nobody is told
                    subscriber.receive(0.001)
                    return True
            return False

        yield attack
    node.close()
    context.term()


@contextmanager
def attack_metrics(chance: random.Random) -> Iterator[Callable[[], bool]]:
    """What sends one request, or what is none, to the port of the metrics."""
    from perception.operations.board import Board
    from perception.operations.server import serve

    with serve("127.0.0.1:0", Board()) as address:
        port = int(address.rpartition(":")[2])
        verbs = (
            b"GET /metrics HTTP/1.1\r\n",
            b"GET " + b"/" * 70_000,
            b"POST /metrics HTTP/1.1\r\nContent-Length: 9999999\r\n\r\n",
        )
        yield lambda: throw(port, chance.choice((*verbs, b"")) + wild_bytes(chance))
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
        connection.request("GET", "/metrics")
        if connection.getresponse().status != 200:
            raise SystemExit("The metrics are not served any more.")
        connection.close()


def keys_in(folder: Path) -> ServerKeys | None:
    """Keys of a node and of one friend."""
    generate("node", folder)
    generate("friend", folder)
    return ServerKeys.load(str(folder / "node.key_secret"), str(folder / "friend.key"))


@contextmanager
def serving(keys: ServerKeys | None) -> Iterator[str]:
    """A node's outlet that sends something all the time, in a thread of its own; its endpoint."""
    endpoint: list[str] = []
    ready, end = threading.Event(), threading.Event()

    def work() -> None:
        outlet = Outlet("tcp://127.0.0.1:*", ["front"], lossless=False, keys=keys)
        endpoint.append(outlet.endpoint)
        ready.set()
        sender, content = Sender("front", bytes(16), bytes(8)), Content("event", {"event": {"name": "x", "detail": {}}})
        while not end.is_set():
            outlet.drain()
            outlet.send(sender, content, TIMES)
            outlet.pause(5)
        outlet.close(linger_ms=0)

    thread = threading.Thread(target=work)
    thread.start()
    ready.wait()
    try:
        yield endpoint[0]
    finally:
        end.set()
        thread.join()


def wild_request(chance: random.Random) -> list[bytes]:
    """What a peer may send to a publisher: subscriptions, and what is none; sometimes too long."""
    first = chance.choice((b"\x00", b"\x01", b"\x02", b""))
    length = chance.choice((0, 1, 12, 300, MAX_REQUEST_BYTES, MAX_REQUEST_BYTES + 1 if chance.random() < 0.01 else 5))
    said = chance.choice((b"front/", b"front/labels/", b"", chance.randbytes(length)))
    return [first + said] * chance.choice((1, 1, 1, 3))


def wild_bytes(chance: random.Random) -> bytes:
    """Bytes for a bare connection: noise, or a greeting and then noise."""
    noise = chance.randbytes(chance.choice((0, 1, 20, 500)))
    if chance.random() < 0.5:
        return noise
    greeting = GREETING[:10] + bytes([3, chance.choice((0, 1, 9))]) + chance.choice(MECHANISMS).ljust(20, b"\0")
    return greeting + bytes(32) + noise


def throw(port: int, data: bytes) -> bool:
    """Connect, send, and leave; False where the other side left first."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as connection:
            connection.sendall(data)
    except (ConnectionError, TimeoutError):
        return False
    return True
