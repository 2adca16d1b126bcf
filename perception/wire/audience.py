"""Who listens to an XPUB socket: which prefixes are subscribed, and how many peers are connected.

Subscriptions are exact: under ``XPUB_VERBOSER`` libzmq hands up every one that a peer makes and, when the
peer leaves, every one that it had. They do not say whose they are; connections are counted by the socket's
monitor. A connection counts once its ZMTP handshake succeeded, so a port scan is nobody.
"""

from __future__ import annotations

from collections import Counter

import zmq
from zmq.utils.monitor import recv_monitor_message

from perception.wire.topic import KINDS, topic_of, wanted_kinds


class Audience:
    """The peers of one XPUB socket. Belongs to the thread that owns the socket."""

    def __init__(self, socket: zmq.Socket[bytes], stream: str) -> None:
        self._socket = socket
        self._stream = stream
        self._topics = [topic_of(stream, kind) for kind in KINDS]
        self._prefixes: Counter[bytes] = Counter()
        self._connections: dict[int, bool] = {}  # by file descriptor: whether the handshake succeeded
        self._monitor = socket.get_monitor_socket(
            zmq.EVENT_ACCEPTED | zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED
        )
        self.wanted: frozenset[str] = frozenset()
        self.subscribers = 0  # connected peers, as far as there are subscriptions for so many

    def drain(self) -> frozenset[str]:
        """Take in what happened since the last call; returns the kinds that somebody newly subscribed to."""
        while _readable(self._monitor):
            event = recv_monitor_message(self._monitor)
            self._connection(event["event"], event["value"])
        asked: list[bytes] = []
        while _readable(self._socket):
            message = self._socket.recv()
            prefix = message[1:]
            # A prefix of no topic of ours matches nothing; not keeping it bounds what strangers can make us keep.
            if not any(topic.startswith(prefix) for topic in self._topics):
                continue
            if message[:1] == b"\x01":
                self._prefixes[prefix] += 1
                asked.append(prefix)
            elif message[:1] == b"\x00":
                self._prefixes[prefix] -= 1
                self._prefixes = +self._prefixes
        self.wanted = wanted_kinds(self._stream, self._prefixes)
        self.subscribers = min(sum(self._connections.values()), self._prefixes.total())
        return wanted_kinds(self._stream, asked)

    def close(self) -> None:
        """Stop watching the socket."""
        self._socket.disable_monitor()
        self._monitor.close(linger=0)  # pyzmq only forgets it, and the context would wait for it for ever

    def _connection(self, event: int, descriptor: int) -> None:
        if event == zmq.EVENT_ACCEPTED:
            self._connections[descriptor] = False
        elif event == zmq.EVENT_DISCONNECTED:
            self._connections.pop(descriptor, None)
        else:
            # The event does not name its connection: it is the youngest that still waits, for a handshake
            # takes milliseconds and whoever stays silent for longer is no ZMTP peer.
            waiting = [fd for fd, done in self._connections.items() if not done]
            if waiting:
                self._connections[waiting[-1]] = True


def _readable(socket: zmq.Socket[bytes]) -> bool:
    return bool(int(socket.get(zmq.EVENTS)) & zmq.POLLIN)
