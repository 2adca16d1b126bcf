"""A network camera for tests: an HTTP server on loopback that sends JPEGs, and can misbehave."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import cv2
import numpy as np

BOUNDARY = b"frame"
Script = Callable[["Camera"], None]


class Camera:
    """What a script of a test does with one connection. ``sent`` counts over all connections."""

    def __init__(self, handler: BaseHTTPRequestHandler, stop: threading.Event, counter: list[int]) -> None:
        self._handler = handler
        self._counter = counter
        self.stop = stop

    def begin(self) -> None:
        self._handler.send_response(200)
        self._handler.send_header("Content-Type", f"multipart/x-mixed-replace; boundary={BOUNDARY.decode()}")
        self._handler.end_headers()

    def send(self, data: bytes) -> None:
        self._handler.wfile.write(b"--" + BOUNDARY + b"\r\nContent-Type: image/jpeg\r\n")
        self._handler.wfile.write(f"Content-Length: {len(data)}\r\n\r\n".encode() + data + b"\r\n")
        self._handler.wfile.flush()
        self._counter[0] += 1

    def stream(self, count: int, width: int = 64, height: int = 48, period_s: float = 0.02) -> None:
        """Pictures whose brightness is their running number modulo 200."""
        for _ in range(count):
            if self.stop.wait(period_s):
                return
            self.send(jpeg(self._counter[0] % 200, width, height))

    def refuse(self, status: int) -> None:
        self._handler.send_error(status)

    def raw(self, data: bytes) -> None:
        self._handler.wfile.write(data)
        self._handler.wfile.flush()


def jpeg(value: int, width: int = 64, height: int = 48) -> bytes:
    return cv2.imencode(".jpg", np.full((height, width, 3), value, np.uint8))[1].tobytes()


@contextmanager
def camera_server(script: Script, port: int = 0) -> Iterator[tuple[str, list[int]]]:
    """Serve ``script`` to every connection; gives the URL and a one-element count of the pictures sent."""
    stop = threading.Event()
    counter = [0]

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            try:
                script(Camera(self, stop, counter))
            except (BrokenPipeError, ConnectionResetError):
                return

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/video", counter
    finally:
        stop.set()
        server.shutdown()
        server.server_close()
        thread.join(timeout=5)


def until(condition: Callable[[], bool], seconds: float = 20) -> bool:
    """Wait for something that another process or thread does."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return False
