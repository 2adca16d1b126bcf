"""A network camera for tests that speaks RTSP: one MPEG transport stream inside RTP inside TCP, looped in real time."""

from __future__ import annotations

import socketserver
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager

PACKET = 188  # bytes of one transport stream packet
SDP = "\r\n".join(
    [
        "v=0",
        "o=- 0 0 IN IP4 127.0.0.1",
        "s=test",
        "c=IN IP4 127.0.0.1",
        "t=0 0",
        "m=video 0 RTP/AVP 33",
        "a=control:track",
        "",
    ]
)


@contextmanager
def rtsp_server(clip: bytes, seconds: float, freeze_after: int | None = None, *, port: int = 0) -> Iterator[str]:
    """Serve ``clip``, a transport stream that lasts so long; after ``freeze_after`` RTP packets nothing more comes."""
    stop = threading.Event()
    packets = [clip[at : at + 7 * PACKET] for at in range(0, len(clip), 7 * PACKET)]
    period_s = seconds / len(packets)

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while not stop.is_set():
                request = self.rfile.readline().decode().split()
                headers = dict(line.split(": ", 1) for line in iter(lambda: self.rfile.readline().decode().strip(), ""))
                if not request:
                    return
                self.answer(request[0], headers)
                if request[0] == "PLAY":
                    self.play()
                    return

        def answer(self, method: str, headers: dict[str, str]) -> None:
            body = SDP if method == "DESCRIBE" else ""
            lines = ["RTSP/1.0 200 OK", f"CSeq: {headers['CSeq']}", "Session: 1", f"Content-Length: {len(body)}"]
            if method == "DESCRIBE":
                lines.append("Content-Type: application/sdp")
            if method == "SETUP":
                lines.append("Transport: RTP/AVP/TCP;unicast;interleaved=0-1")
            self.wfile.write(("\r\n".join(lines) + "\r\n\r\n" + body).encode())

        def play(self) -> None:
            for number in range(1_000_000):
                if stop.wait(period_s if number != freeze_after else None):
                    return
                header = struct.pack(">BBHII", 0x80, 33, number & 0xFFFF, round(number * period_s * 90_000), 1)
                payload = header + packets[number % len(packets)]
                try:
                    self.wfile.write(struct.pack(">cBH", b"$", 0, len(payload)) + payload)
                except (BrokenPipeError, ConnectionResetError):
                    return

    class Server(socketserver.ThreadingTCPServer):
        allow_reuse_address = True

    server = Server(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"rtsp://127.0.0.1:{server.server_address[1]}/live"
    finally:
        stop.set()
        server.shutdown()
        server.server_close()
        thread.join(timeout=5)
