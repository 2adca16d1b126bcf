"""Fuzzing guided by coverage, for ``fuzz.py --coverage``: atheris keeps the bytes that reached new code, and goes on
from them. It ends the process itself; what breaks something is left as a file ``crash-*`` in the working folder.
"""

from __future__ import annotations

import gc
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from types import FunctionType

import msgpack
import zmq
from hostile import PATIENCE_S

from perception.config import NodeConfig
from perception.control.commands import Control
from perception.control.message import (
    MAX_REQUEST_BYTES,
    Refusal,
    Request,
    pack_refusal,
    pack_request,
    pack_result,
    unpack_request,
)
from perception.control.socket import ControlSocket
from perception.node import build
from perception.watch import Watch

SOURCE = "synth://street?seed=1&size=64x64&fps=25&frames=1000"
TARGETS = ("decoder", "control", "control-socket")
BETWEEN_PARTS = b"|"
LAST_ID = 2**40  # of the request that must be answered
SEEDS = (
    Request("status", {}, 1),
    Request("pause", {"stream": "front"}, 2),
    Request("resume"),
    Request("reload", {"model": "m.onnx"}, 3),
    Request("seek", {"frame": 7, "stream": "front"}, 4),
    Request("seek", {"seconds": 1.5}, 5),
)
Target = Callable[[bytes], None]


def guided(runs: int, target: Target, seeds: Path, longest: int | None = None) -> None:
    """Let atheris look for inputs of at most ``longest`` bytes that reach new code, from those in a folder on."""
    try:
        import atheris
    except ModuleNotFoundError:
        raise SystemExit("--coverage needs atheris: pip install atheris") from None
    # Not instrument_all, which takes half a minute for libraries whose coverage says nothing here.
    for function in [each for each in gc.get_objects() if isinstance(each, FunctionType)]:
        if str(function.__module__).startswith("perception."):
            atheris.instrument_func(function)
    found = tempfile.mkdtemp(prefix="roadcast-fuzz-")  # new inputs go into the first folder
    limits = [f"-atheris_runs={runs}", *([] if longest is None else [f"-max_len={longest}"])]
    atheris.Setup([sys.argv[0], *limits, found, str(seeds)], target)
    atheris.Fuzz()


def guided_control(runs: int, *, live: bool) -> None:
    """The requests of the control socket: their parser alone or, ``live``, a node's own socket and what it does."""
    with tempfile.TemporaryDirectory() as name, ExitStack() as parts:
        seeds = Path(name, "seeds")
        seeds.mkdir()
        for number, request in enumerate(SEEDS):
            (seeds / str(number)).write_bytes(pack_request(request))
        target = parts.enter_context(asking(Path(name))) if live else parse
        guided(runs, target, seeds, longest=MAX_REQUEST_BYTES + 100)


def parse(packed: bytes) -> None:
    """Read a request, and make the reply to it or to what was wrong with it; anything else is raised."""
    try:
        request = unpack_request(packed)
    except Refusal as refusal:
        reply = pack_refusal(0, refusal)
    else:
        reply = pack_result(request.id, {"command": request.command})
    msgpack.unpackb(reply)


@contextmanager
def asking(folder: Path) -> Iterator[Target]:
    """What sends bytes to a node's control socket, and then a request that has to be answered.

    The node is whole but publishes nothing, so that all goes on in one thread, and coverage is that of the input.
    """
    config = NodeConfig(source=SOURCE, engine="simulated://?infer_ms=1", publish=f"ipc://{folder}/node", control="none")
    watch = Watch(threading.Event(), lambda _: None)
    last = pack_request(Request("status", {}, LAST_ID))
    with build(config, interrupt=watch.interrupt) as node, zmq.Context() as context:
        watch.node = node
        socket = ControlSocket(f"ipc://{folder}/control")
        with closing(Control(socket, node, watch.status)) as control, context.socket(zmq.DEALER) as peer:
            peer.linger = 0
            peer.connect(socket.endpoint)

            def ask(data: bytes) -> None:
                peer.send_multipart(data.split(BETWEEN_PARTS))
                peer.send(last)
                deadline = time.monotonic() + PATIENCE_S
                answered = False
                while not answered:
                    control.poll()
                    while peer.poll(0):
                        reply = msgpack.unpackb(peer.recv_multipart()[-1])
                        answered |= reply["ok"] and reply["id"] == LAST_ID
                    if time.monotonic() > deadline:
                        raise RuntimeError(f"A request for the status was not answered within {PATIENCE_S:g} s.")

            yield ask
