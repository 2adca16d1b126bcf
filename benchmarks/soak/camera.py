"""A network camera of the soak, in a process that can be stopped and killed: ``camera.py mjpeg|rtsp PORT FOLDER FPS``.

Plays the pictures of a folder over and over in real time: as JPEGs over HTTP, or its ``clip.ts`` over RTSP. Prints
a line when it listens, and serves until it is killed. ``mjpeg`` sends ten broken pictures after SIGUSR1, and after
SIGUSR2 noise in which no picture can be found.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from contextlib import ExitStack
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2] / "tests" / "integration"))

from mjpeg_server import Camera, camera_server
from rtsp_server import rtsp_server

BROKEN_PICTURES = 10
NOISE_BYTES = 50_000


class Loop:
    """Sends pictures to whoever connects, and what the signals ask for."""

    def __init__(self, folder: Path, fps: float) -> None:
        self._pictures = [path.read_bytes() for path in sorted(folder.glob("*.jpg"))]
        self._fps = fps
        self._broken = 0
        self._noise = False
        signal.signal(signal.SIGUSR1, self._break_pictures)
        signal.signal(signal.SIGUSR2, self._make_noise)

    def play(self, camera: Camera) -> None:
        """One connection."""
        camera.begin()
        began_s, sent = time.monotonic(), 0
        while not camera.stop.wait(max(0.0, began_s + sent / self._fps - time.monotonic())):
            if self._noise:
                self._noise = False
                camera.raw(os.urandom(NOISE_BYTES))
            picture = self._pictures[int(time.time() * self._fps) % len(self._pictures)]
            if self._broken > 0:
                self._broken -= 1
                picture = picture[:200] + os.urandom(len(picture) // 2)
            camera.send(picture)
            sent += 1

    def _break_pictures(self, *_: object) -> None:
        self._broken = BROKEN_PICTURES

    def _make_noise(self, *_: object) -> None:
        self._noise = True


def main() -> None:
    """Serve until the end of the process."""
    kind, port, folder, fps = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]), float(sys.argv[4])
    with ExitStack() as servers:
        if kind == "mjpeg":
            servers.enter_context(camera_server(Loop(folder, fps).play, port))
        else:
            seconds = len(list(folder.glob("*.jpg"))) / fps
            servers.enter_context(rtsp_server((folder / "clip.ts").read_bytes(), seconds, port=port))
        print("listening", flush=True)
        while True:
            signal.pause()


if __name__ == "__main__":
    main()
