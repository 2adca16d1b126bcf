"""CURVE on sockets: who a node is, whom it lets in, and how a client proves itself.

libzmq does the cryptography (CurveZMQ, RFC 26: Curve25519, every message encrypted and authenticated); before it
lets a client in, it asks over the ZeroMQ Authentication Protocol (RFC 27) whether its key is allowed. ``Gate``
answers, in the thread that owns the node's sockets.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import zmq
import zmq.utils.z85

from perception.errors import ConfigError
from perception.wire.keys import KeyPair, load_allowed, load_pair, load_public

ZAP_ENDPOINT = "inproc://zeromq.zap.01"
DOMAIN = "roadcast"
REREAD_S = 1.0  # between two looks at the allow-list, however many knock
Keys = TypeVar("Keys", "ServerKeys", "ClientKeys")
_REQUEST_FRAMES = 7  # version, request, domain, address, identity, mechanism, key


@dataclass(frozen=True, slots=True)
class ServerKeys:
    """A node's keys and the path of its allow-list. ``allow`` is a folder of public keys, or a file."""

    own: KeyPair
    allow: Path

    @staticmethod
    def load(secret: str | None, allow: str | None) -> ServerKeys | None:
        """The keys in these files; None where neither is given.

        Raises:
            ConfigError: only one is given, or one cannot be used.
        """

        def read(secret: Path, allow: Path) -> ServerKeys:
            keys = ServerKeys(load_pair(secret), allow)
            load_allowed(allow)
            return keys

        return _of_both(secret, allow, "--curve-secret (the node's key) and --allow (the clients' public keys)", read)


@dataclass(frozen=True, slots=True)
class ClientKeys:
    """A client's keys and the public key of the node it wants to talk to."""

    own: KeyPair
    server: bytes

    @staticmethod
    def load(server: str | None, secret: str | None) -> ClientKeys | None:
        """The keys in these files; None where neither is given.

        Raises:
            ConfigError: only one is given, or one cannot be used.
        """

        def read(server: Path, secret: Path) -> ClientKeys:
            return ClientKeys(load_pair(secret), load_public(server))

        return _of_both(server, secret, "--curve-server (the node's public key) and --curve-secret (yours)", read)


def _of_both(first: str | None, second: str | None, flags: str, read: Callable[[Path, Path], Keys]) -> Keys | None:
    if first is None and second is None:
        return None
    if first is None or second is None:
        raise ConfigError(f"{flags} go together: give both.")
    return read(Path(first), Path(second))


class Gate:
    """Lets clients with allowed keys in and counts the others. Belongs to the thread that owns the node's sockets.

    The allow-list is read again while the node runs: who is added may enter, who is removed is refused from the next
    connection on. Where it cannot be read any more, only those stay allowed who prove to have the node's own key.
    """

    def __init__(
        self, context: zmq.Context[zmq.Socket[bytes]], keys: ServerKeys, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.refused = 0  # attempts, of whomever
        self.reason = f"its key is not in {keys.allow}"
        self._keys = keys
        self._clock = clock
        self._allowed = load_allowed(keys.allow)
        self._reread_s = clock() + REREAD_S
        self._socket: zmq.Socket[bytes] = context.socket(zmq.REP)
        self._socket.linger = 0
        self._socket.bind(ZAP_ENDPOINT)

    def guard(self, socket: zmq.Socket[bytes]) -> None:
        """Let a socket that is not bound yet speak CURVE, and ask here about every client."""
        socket.setsockopt(zmq.CURVE_SERVER, 1)
        socket.setsockopt(zmq.CURVE_SECRETKEY, self._keys.own.secret)
        socket.setsockopt(zmq.CURVE_PUBLICKEY, self._keys.own.public)
        socket.setsockopt_string(zmq.ZAP_DOMAIN, DOMAIN)

    def answer(self) -> None:
        """Decide on everybody who waits to be let in. Never blocks; call it often."""
        while int(self._socket.get(zmq.EVENTS)) & zmq.POLLIN:
            request = self._socket.recv_multipart()
            known = len(request) == _REQUEST_FRAMES and request[5] == b"CURVE" and self._knows(request[6])
            self.refused += not known
            status = (b"200", b"OK") if known else (b"400", b"This key is not on the allow-list.")
            self._socket.send_multipart([*request[:2], *status, b"", b""])

    def close(self) -> None:
        """Let nobody in any more."""
        self._socket.close(linger=0)

    def _knows(self, raw: bytes) -> bool:
        now = self._clock()
        if now >= self._reread_s:
            self._reread_s = now + REREAD_S
            self.reason = f"its key is not in {self._keys.allow}"
            try:
                self._allowed = load_allowed(self._keys.allow)
            except ConfigError as error:
                self._allowed, self.reason = frozenset(), str(error)
        key = zmq.utils.z85.encode(raw)
        return key == self._keys.own.public or key in self._allowed


def authenticate(socket: zmq.Socket[bytes], keys: ClientKeys) -> None:
    """Let a client's socket that is not connected yet prove itself, and accept no other node than the named one."""
    socket.setsockopt(zmq.CURVE_SERVERKEY, keys.server)
    socket.setsockopt(zmq.CURVE_SECRETKEY, keys.own.secret)
    socket.setsockopt(zmq.CURVE_PUBLICKEY, keys.own.public)
