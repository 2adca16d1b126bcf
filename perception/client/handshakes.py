"""Why a node does not let a client in, as far as the client's socket can tell."""

from __future__ import annotations

import zmq
from zmq.utils.monitor import recv_monitor_message

_SAYINGS = {
    int(zmq.EVENT_HANDSHAKE_FAILED_AUTH): "refuses this client's key: the node's allow-list must have its public key.",
    int(zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL): (
        "does not speak with this client: a node with keys wants --curve-server and --curve-secret, one without keys "
        "wants neither; or what listens there is no node."
    ),
    int(zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL): (
        "breaks off before the first message: is the key given as the node's really its public key, or does something "
        "else than a node listen there?"
    ),
}


class Handshakes:
    """Listens to what becomes of a socket's connections. Belongs to the thread that owns the socket."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], socket: zmq.Socket[bytes]) -> None:
        self._socket = socket
        self._last = self._outcome = 0
        # Without a limit: a full monitor would stop the thread that does the connecting.
        self._monitor: zmq.Socket[bytes] = context.socket(zmq.PAIR)
        self._monitor.setsockopt(zmq.RCVHWM, 0)
        address = f"inproc://handshakes-{id(self):x}"
        others = zmq.EVENT_DISCONNECTED | zmq.EVENT_CONNECT_DELAYED | zmq.EVENT_CONNECT_RETRIED
        socket.monitor(address, zmq.EVENT_HANDSHAKE_SUCCEEDED | others | sum(_SAYINGS))
        self._monitor.connect(address)

    def drain(self) -> None:
        """Take in what happened. Never blocks; to be called now and then, for it is kept until then."""
        while self._monitor.poll(0, zmq.POLLIN):
            self._last = int(recv_monitor_message(self._monitor)["event"])
            if self._last in _SAYINGS or self._last == zmq.EVENT_HANDSHAKE_SUCCEEDED:
                self._outcome = self._last

    def refusal(self) -> str:
        """A sentence without its subject on why the last connection came to nothing; empty where it did not."""
        self.drain()
        return _SAYINGS.get(self._outcome, "")

    def given_up(self) -> bool:
        """Whether libzmq has ended the connection and does not try again: after a refusal, or an oversized message."""
        self.drain()
        return self._last in _SAYINGS or self._last == zmq.EVENT_DISCONNECTED

    def close(self) -> None:
        """Stop listening. May be called twice."""
        if not self._monitor.closed:
            self._socket.disable_monitor()
            self._monitor.close(linger=0)
