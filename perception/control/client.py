"""Asking a node for something over its control socket."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from typing import Any

import zmq

from perception.client.handshakes import Handshakes
from perception.control.message import MAX_REPLY_BYTES, Request, pack_request, unpack_reply
from perception.errors import EndpointError, Timeout
from perception.wire.curve import ClientKeys, authenticate
from perception.wire.endpoint import ipc_file, transport_of


def ask(
    endpoint: str,
    command: str,
    args: Mapping[str, object] | None = None,
    *,
    timeout_s: float = 5.0,
    keys: ClientKeys | None = None,
) -> dict[str, Any]:
    """Ask the node whose control socket is there; returns what it answers.

    Raises:
        ConfigError: a malformed endpoint.
        EndpointError: no such socket, or it cannot be connected to.
        Timeout: no answer within ``timeout_s`` seconds.
        RequestError: the node says that this cannot be done as asked.
        ControlError: the node says that it could not do it.
        WireError: what answered is no node's control socket.
    """
    transport_of(endpoint)
    file = ipc_file(endpoint)
    if file is not None and not file.exists():
        raise EndpointError(f"There is no control socket {str(file)!r}. Is the node running, and is that its endpoint?")
    request = Request(command, dict(args or {}), secrets.randbits(48) + 1)
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    socket: zmq.Socket[bytes] = context.socket(zmq.DEALER)
    handshakes = Handshakes(context, socket)
    try:
        socket.setsockopt(zmq.MAXMSGSIZE, MAX_REPLY_BYTES)
        socket.setsockopt(zmq.IPV6, int("[" in endpoint))
        if keys is not None:
            authenticate(socket, keys)
        try:
            socket.connect(endpoint)
        except zmq.ZMQError as error:
            raise EndpointError(f"Cannot connect to {endpoint}: {error.strerror.lower()}.") from error
        socket.send(pack_request(request))
        return _await_reply(socket, handshakes, request, endpoint, timeout_s)
    finally:
        handshakes.close()
        socket.close(linger=0)
        context.term()


def _await_reply(
    socket: zmq.Socket[bytes], handshakes: Handshakes, request: Request, endpoint: str, timeout_s: float
) -> dict[str, Any]:
    deadline = time.monotonic() + timeout_s
    while socket.poll(max(0, round((deadline - time.monotonic()) * 1000)), zmq.POLLIN):
        result = unpack_reply(socket.recv_multipart()[-1], request.id)
        if result is not None:
            return result
    refusal = handshakes.refusal()
    if refusal:
        raise Timeout(f"{endpoint} {refusal}")
    raise Timeout(
        f"{endpoint} did not answer to {request.command!r} within {timeout_s:g} s. Is a node running there, "
        "and is that its control endpoint, not the one where it publishes?"
    )
