"""``/metrics``, ``/healthz`` and ``/readyz`` over HTTP: few small answers, and no way to make the node wait."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from perception.errors import ConfigError, EndpointError
from perception.operations.board import Board
from perception.operations.exposition import CONTENT_TYPE, exposition

AT_ONCE = 8  # connections; who comes when so many are open is turned away
PATIENCE_S = 5.0  # with a client that says nothing
LONGEST_S = 10.0  # a connection may last: one that says a byte now and then must not take the place of others for ever
_ADDRESS = re.compile(r"(?:\[([0-9A-Fa-f:.%\w]+)\]|([^:/\[\]\s]+)):(\d{1,5})")


@contextmanager
def serve(address: str, board: Board) -> Iterator[str]:
    """Serve at ``HOST:PORT`` while inside; yields the address as bound (a port of 0 becomes a number).

    Raises:
        ConfigError: no address of that form.
        EndpointError: it is in use or not this machine's.
    """
    found = _ADDRESS.fullmatch(address)
    if not found or int(found[3]) > 65535:
        raise ConfigError(f"--metrics must be HOST:PORT, such as 127.0.0.1:9090; got {address!r}.")
    host, port = found[1] or found[2], int(found[3])
    try:
        server = _Server(host, port, board)
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise EndpointError(f"Cannot serve metrics at {address}: {why}. Give another HOST:PORT.") from error
    thread = threading.Thread(target=server.serve_forever, name="metrics", daemon=True)
    thread.start()
    try:
        yield f"{address.rpartition(':')[0]}:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = 64

    def __init__(self, host: str, port: int, board: Board) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.board = board
        self._free = threading.BoundedSemaphore(AT_ONCE)
        self._since_s: dict[socket.socket, float] = {}  # of every connection that is served
        super().__init__(("" if host == "*" else host, port), _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._free.acquire(blocking=False):
            self._since_s[request] = time.monotonic()
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._since_s.pop(request, None)
            self._free.release()

    def service_actions(self) -> None:
        """Cut off who takes too long. The server calls this twice a second."""
        now = time.monotonic()
        for request, since_s in list(self._since_s.items()):
            if now - since_s > LONGEST_S:
                with suppress(OSError):  # it has just ended
                    request.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that breaks off is no news; http.server would print a traceback."""


class _Handler(BaseHTTPRequestHandler):
    timeout = PATIENCE_S
    server_version = "roadcast"
    sys_version = ""
    server: _Server

    def do_GET(self) -> None:
        """Answer the three paths."""
        board, path = self.server.board, self.path.partition("?")[0]
        if path == "/metrics":
            self._answer(200, CONTENT_TYPE, exposition(board))
        elif path in ("/healthz", "/readyz"):
            good = board.alive and (board.ready or path == "/healthz")
            self._answer(200 if good else 503, "application/json", json.dumps(_health(board)) + "\n")
        else:
            self._answer(404, "text/plain; charset=utf-8", "There are /metrics, /healthz and /readyz.\n")

    def do_HEAD(self) -> None:
        """The same without a body."""
        self.do_GET()

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are not logged."""

    def _answer(self, code: int, content_type: str, text: str) -> None:
        body = text.encode()
        self.send_response(code)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _health(board: Board) -> dict[str, object]:
    status = board.status
    return {
        "alive": board.alive,
        "ready": board.ready,
        "state": status.state if status else "starting",
        "doing": status.doing if status else "starting",
        "streams": {stream.stream: stream.state for stream in status.streams} if status else {},
    }
