"""A TCP relay: a network of a given speed that counts what it carries, framing and handshakes included."""

from __future__ import annotations

import socket
import threading
import time

CHUNK = 16384  # bytes; a large one would add its own time on the line to the latency


class Relay:
    """Forwards connections on ``port`` to ``target``, each direction at ``bits_per_s`` at most.

    ``carried`` counts the bytes of either direction.
    """

    def __init__(self, port: int, target: int, bits_per_s: float) -> None:
        self.carried = [0, 0]
        self._target = target
        self._seconds_per_byte = 8 / bits_per_s
        self._listener = socket.create_server(("127.0.0.1", port))
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Take no more connections."""
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                here = self._listener.accept()[0]
            except OSError:
                return
            there = self._reach()
            for direction, (source, sink) in enumerate(((here, there), (there, here))):
                threading.Thread(target=self._forward, args=(source, sink, direction), daemon=True).start()

    def _reach(self) -> socket.socket:
        for _ in range(300):
            try:
                return socket.create_connection(("127.0.0.1", self._target))
            except ConnectionRefusedError:
                time.sleep(0.1)
        raise TimeoutError(f"nobody listens at port {self._target}")

    def _forward(self, source: socket.socket, sink: socket.socket, direction: int) -> None:
        try:
            free_at = 0.0  # when the line has sent what it was given
            while data := source.recv(CHUNK):
                self.carried[direction] += len(data)
                free_at = max(free_at, time.monotonic()) + len(data) * self._seconds_per_byte
                time.sleep(max(0.0, free_at - time.monotonic()))
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # the other side left; what was carried until then is counted
