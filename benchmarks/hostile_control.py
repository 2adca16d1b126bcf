"""The attacker of a node's control socket: a whole node at work; after it, a well-behaved client must be served."""

from __future__ import annotations

import random
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import av
import msgpack
import numpy as np
import zmq
from hostile import PATIENCE_S, throw, wild_bytes

from perception.config import NodeConfig
from perception.control.client import ask
from perception.control.message import MAX_REQUEST_BYTES
from perception.control.socket import LARGEST_PART_BYTES
from perception.errors import Timeout
from perception.run import run

FRAMES, FPS = 3000, 25  # of the node's film; requests to seek keep it from its end
COMMANDS = ("status", "pause", "resume", "reload", "seek", "dance", "", 7)
VALUES: tuple[object, ...] = (
    None,
    True,
    -1,
    0,
    7,
    2**63,
    1.5,
    float("nan"),
    float("inf"),
    "",
    "front",
    "rear",
    "x" * 3000,
    b"\xff",
    [],
    {},
)
KEYS = ("stream", "frame", "seconds", "model", "more")


@contextmanager
def attack_control(chance: random.Random) -> Iterator[Callable[[], bool]]:
    """What asks a node for one wild thing, and takes in what it answers."""
    with tempfile.TemporaryDirectory() as name, _node(Path(name)) as control:
        port = int(control.rpartition(":")[2])
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        peers = [_peer(context, control) for _ in range(2)]

        def attack() -> bool:
            if chance.random() < 0.02:
                return throw(port, wild_bytes(chance))
            peer = chance.choice(peers)
            while peer.poll(0):
                peer.recv_multipart()
            with suppress(zmq.Again):
                peer.send_multipart(wild_parts(chance))  # waits while the node has enough to do
                return True
            return False

        try:
            yield attack
        finally:
            for peer in peers:
                peer.close()
            context.term()
        ask(control, "resume", timeout_s=PATIENCE_S)
        if ask(control, "status", timeout_s=PATIENCE_S)["streams"]["front"]["state"] != "running":
            raise SystemExit("The node does not run any more.")


def wild_parts(chance: random.Random) -> list[bytes]:
    """A request that is right, nearly right, noise, too long, or of many parts."""
    length = chance.choice((0, 1, 64, MAX_REQUEST_BYTES + 1, LARGEST_PART_BYTES))
    if chance.random() < 0.2:
        parts = [chance.randbytes(length)] * chance.choice((1, 1, 2, 5))
        return [*parts, bytes(LARGEST_PART_BYTES + 1)] if chance.random() < 0.001 else parts
    args = {key: chance.choice(VALUES) for key in chance.sample(KEYS, chance.randint(0, 2))}
    request = {"version": [1, 0], "id": chance.randrange(2**53), "command": chance.choice(COMMANDS), "args": args}
    if chance.random() < 0.3:
        request[chance.choice(list(request))] = chance.choice(VALUES)
    packed = bytearray(msgpack.packb(request))
    if chance.random() < 0.3:
        packed[chance.randrange(len(packed))] = chance.randrange(256)
    return [bytes(packed)] if chance.random() < 0.5 else [b"", bytes(packed)]


def _peer(context: zmq.Context[zmq.Socket[bytes]], endpoint: str) -> zmq.Socket[bytes]:
    peer: zmq.Socket[bytes] = context.socket(zmq.DEALER)
    peer.linger = 0
    peer.setsockopt(zmq.SNDHWM, 50)
    peer.setsockopt(zmq.SNDTIMEO, 1000)
    peer.connect(endpoint)
    return peer


def _film(path: Path) -> Path:
    """A film of nothing: a rendered street would keep what it has drawn, and look like memory that is lost."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=FPS, options={"preset": "ultrafast", "g": str(FPS)})
        video.width, video.height, video.pix_fmt = 64, 64, "yuv420p"
        picture = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="bgr24")
        for number in range(FRAMES):
            picture.pts = number
            container.mux(video.encode(picture))
        container.mux(video.encode(None))
    return path


@contextmanager
def _node(folder: Path) -> Iterator[str]:
    """A node without a subscriber, its engine simulated; its control endpoint."""
    film, publish = str(_film(folder / "film.mp4")), f"ipc://{folder}/node"
    with socket.create_server(("127.0.0.1", 0)) as probe:
        control = f"tcp://127.0.0.1:{probe.getsockname()[1]}"
    interrupt, codes = threading.Event(), []
    config = NodeConfig(source=film, engine="simulated://?infer_ms=1", publish=publish, control=control)

    def work() -> None:
        summary = run(config, interrupt=interrupt)
        codes.append(None if summary is None else (summary.exit_code, summary.frames.balanced))

    thread = threading.Thread(target=work)
    thread.start()
    try:
        while True:
            with suppress(Timeout):
                ask(control, "status", timeout_s=1.0)
                break
            if not thread.is_alive():
                raise SystemExit("The node did not start.")
        yield control
    finally:
        interrupt.set()
        thread.join()
    if codes != [(0, True)]:
        raise SystemExit(f"The node did not end well: {codes}")
