"""Who listens to an XPUB socket: which prefixes are subscribed, and how many peers are connected.

Subscriptions are exact: under ``XPUB_VERBOSER`` libzmq hands up every one that a peer makes and, when the
peer leaves, every one that it had. They do not say whose they are; connections are counted by the socket's
monitor. A connection counts once its ZMTP handshake succeeded, so a port scan is nobody.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import zmq
from zmq.utils.monitor import recv_monitor_message

from perception.wire.topic import KINDS, topic_of, wanted_kinds

AT_ONCE = 10_000  # subscriptions taken in by one call: a flood of them must not stop the frames


class Audience:
    """The peers of one XPUB socket that sends these streams. Belongs to the thread that owns the socket."""

    def __init__(self, socket: zmq.Socket[bytes], streams: Sequence[str]) -> None:
        self._socket = socket
        self._topics = {stream: [topic_of(stream, kind) for kind in KINDS] for stream in streams}
        self._prefixes: Counter[bytes] = Counter()
        self._connections: dict[int, bool] = {}  # by file descriptor: whether the handshake succeeded
        self._monitor = socket.get_monitor_socket(
            zmq.EVENT_ACCEPTED | zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED
        )
        self.wanted: Mapping[str, frozenset[str]] = dict.fromkeys(streams, frozenset())  # kinds by stream

    @property
    def subscribers(self) -> int:
        """Connected peers, as far as there are subscriptions for so many."""
        return min(self._connected, self._prefixes.total())

    def subscribers_of(self, stream: str) -> int:
        """Connected peers, as far as there are subscriptions to something of this stream for so many."""
        matching = sum(count for prefix, count in self._prefixes.items() if self._matches(stream, prefix))
        return min(self._connected, matching)

    def drain(self) -> Mapping[str, frozenset[str]]:
        """Take in what happened since the last call; returns the kinds of each stream newly subscribed to."""
        while _readable(self._monitor):
            event = recv_monitor_message(self._monitor)
            self._connection(event["event"], event["value"])
        asked: list[bytes] = []
        changed = False
        for _ in range(AT_ONCE):
            if not _readable(self._socket):
                break
            message = self._socket.recv()
            prefix = message[1:]
            # A prefix of no topic of ours matches nothing; not keeping it bounds what strangers can make us keep.
            if not any(self._matches(stream, prefix) for stream in self._topics):
                continue
            changed = True
            if message[:1] == b"\x01":
                self._prefixes[prefix] += 1
                asked.append(prefix)
            elif message[:1] == b"\x00":
                self._prefixes[prefix] -= 1
                self._prefixes = +self._prefixes
        if changed:
            self.wanted = {stream: wanted_kinds(stream, self._prefixes) for stream in self._topics}
        return {stream: wanted_kinds(stream, asked) for stream in self._topics} if asked else {}

    def close(self) -> None:
        """Stop watching the socket."""
        self._socket.disable_monitor()
        self._monitor.close(linger=0)  # pyzmq only forgets it, and the context would wait for it for ever

    @property
    def _connected(self) -> int:
        return sum(self._connections.values())

    def _matches(self, stream: str, prefix: bytes) -> bool:
        return any(topic.startswith(prefix) for topic in self._topics[stream])

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
