"""A connection to one node: its address, the options of its socket, and what to do where libzmq gives it up."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import zmq

from perception.client.handshakes import Handshakes
from perception.errors import ConfigError, EndpointError
from perception.wire.codecs import MAX_PAYLOAD_BYTES
from perception.wire.curve import ClientKeys, authenticate
from perception.wire.endpoint import KEEPALIVE, transport_of

RECONNECT_MS = 50


class Connection:
    """Receives the messages whose topics begin with one of ``prefixes``. The node need not run yet.

    Args:
        queue: messages that may wait in this process before the node's own queue fills.
        keys: CURVE keys, where the node asks for them.

    Raises:
        ConfigError: a malformed endpoint, or one without a port.
        EndpointError: libzmq does not take the endpoint.
    """

    def __init__(self, endpoint: str, prefixes: Sequence[bytes], *, queue: int, keys: ClientKeys | None) -> None:
        _check_address(endpoint)
        self.endpoint = endpoint
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket: zmq.Socket[bytes] = self._context.socket(zmq.SUB)
        self._handshakes = Handshakes(self._context, self._socket)
        socket = self._socket
        if keys is not None:
            authenticate(socket, keys)
        socket.setsockopt(zmq.RCVHWM, queue)
        socket.setsockopt(zmq.MAXMSGSIZE, MAX_PAYLOAD_BYTES)
        for option, value in KEEPALIVE.items():  # then libzmq reconnects
            socket.setsockopt(option, value)
        socket.setsockopt(zmq.RECONNECT_IVL, RECONNECT_MS)
        socket.setsockopt(zmq.IPV6, int("[" in endpoint))
        for prefix in prefixes:
            socket.subscribe(prefix)
        try:
            socket.connect(endpoint)
        except zmq.ZMQError as error:
            self.close()
            raise EndpointError(f"Cannot connect to {endpoint}: {error.strerror.lower()}.") from error

    def wait(self, milliseconds: int) -> bool:
        """Whether a message is here, or comes within that time."""
        self._handshakes.drain()
        return bool(self._socket.poll(milliseconds, zmq.POLLIN))

    def receive(self) -> list[bytes]:
        """The frames of the next message; blocks until it is here."""
        return self._socket.recv_multipart()

    def refusal(self) -> str:
        """A sentence without its subject on why the node does not let this client in; empty where it does."""
        return self._handshakes.refusal()

    def knock_again(self) -> None:
        """Connect once more where libzmq takes what came for the last word; allow-lists, keys and nodes change."""
        if self._handshakes.given_up():
            with suppress(zmq.ZMQError):  # libzmq has given the connection up by itself
                self._socket.disconnect(self.endpoint)
            self._socket.connect(self.endpoint)

    def close(self) -> None:
        """Disconnect. May be called twice."""
        self._handshakes.close()
        self._socket.close(linger=0)
        self._context.term()


def _check_address(endpoint: str) -> None:
    if transport_of(endpoint) == "tcp" and endpoint.rpartition(":")[2].strip("0") in ("", "*"):
        raise ConfigError(
            f"{endpoint!r} names no port to connect to, for 0 and * mean any free one: give the port at which the "
            "node publishes; it says so when it starts."
        )
