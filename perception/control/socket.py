"""The node's end of the control socket: takes in what is asked, however wrong it is, and answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import zmq

from perception.control.message import Refusal, Request, pack_refusal, pack_result, unpack_request
from perception.wire.curve import Gate, ServerKeys
from perception.wire.endpoint import KEEPALIVE, bind, ipc_file

AT_ONCE = 16  # requests between two looks at the frames
QUEUE = 64  # requests and replies that may wait for one client
# A longer part ends the connection in libzmq, which cannot answer it; a shorter one that is too long gets an answer.
LARGEST_PART_BYTES = 64 * 1024
LINGER_MS = 200  # for the last replies of a node that ends


@dataclass(frozen=True, slots=True)
class Asked:
    """A request and the way back to who sent it."""

    envelope: tuple[bytes, ...]
    request: Request


class ControlSocket:
    """A bound ROUTER socket. Belongs to one thread, and never makes it wait.

    Args:
        insecure: others may reach it without keys.
        keys: only clients on their allow-list can connect (CURVE).

    Raises:
        ConfigError: a malformed endpoint, or one that other machines can reach without ``insecure`` or ``keys``.
        EndpointError: the endpoint is in use or is not this machine's.
    """

    def __init__(self, endpoint: str, *, insecure: bool = False, keys: ServerKeys | None = None) -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket: zmq.Socket[bytes] = self._context.socket(zmq.ROUTER)
        self._gate: Gate | None = None
        self._file: Path | None = None
        try:
            for option, value in (
                (zmq.MAXMSGSIZE, LARGEST_PART_BYTES),
                (zmq.RCVHWM, QUEUE),
                (zmq.SNDHWM, QUEUE),  # a client that does not read loses its replies
                *KEEPALIVE.items(),
            ):
                self._socket.setsockopt(option, value)
            if keys is not None:
                self._gate = Gate(self._context, keys)
                self._gate.guard(self._socket)
            self.endpoint = bind(self._socket, endpoint, insecure=insecure, guarded=keys is not None)
            self._file = ipc_file(endpoint)
        except BaseException:
            self.close()
            raise

    def receive(self) -> list[Asked]:
        """The requests that are here, some at a time; what is no request is answered at once. Never blocks."""
        if self._gate is not None:
            self._gate.answer()
        found: list[Asked] = []
        for _ in range(AT_ONCE):
            if not int(self._socket.get(zmq.EVENTS)) & zmq.POLLIN:
                break
            frames = self._socket.recv_multipart()
            envelope = tuple(frames[:2]) if len(frames) > 1 and not frames[1] else tuple(frames[:1])
            try:
                found.append(Asked(envelope, _request_in(frames[len(envelope) :])))
            except Refusal as refusal:
                self._send(envelope, pack_refusal(0, refusal))
        return found

    def answer(self, asked: Asked, result: Mapping[str, object]) -> None:
        """Reply with a result of plain values."""
        self._send(asked.envelope, pack_result(asked.request.id, result))

    def refuse(self, asked: Asked, refusal: Refusal) -> None:
        """Reply that it is not done, and why."""
        self._send(asked.envelope, pack_refusal(asked.request.id, refusal))

    def close(self) -> None:
        """Close. May be called twice."""
        self._socket.close(linger=LINGER_MS)
        if self._gate is not None:
            self._gate.close()
        self._context.term()
        if self._file is not None:
            self._file.unlink(missing_ok=True)

    def _send(self, envelope: tuple[bytes, ...], packed: bytes) -> None:
        # A ROUTER drops what goes to a client that left or does not read, and never waits for it.
        self._socket.send_multipart([*envelope, packed], zmq.NOBLOCK)


def _request_in(parts: list[bytes]) -> Request:
    if len(parts) != 1:
        raise Refusal("malformed", f"A request is one part; got {len(parts)}.")
    return unpack_request(parts[0])
