"""How much the machine itself is in the way: what is late for want of a processor or of the network stack."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

BEAT_S = 0.1


class Waiting:
    """How long processes wanted a processor and had none, summed over their threads."""

    def __init__(self) -> None:
        self._before: dict[Path, int] = {}

    def since_last_s(self, pids: Sequence[int]) -> float:
        """Seconds since the last call, for the threads that live now."""
        now: dict[Path, int] = {}
        for pid in pids:
            for file in Path(f"/proc/{pid}/task").glob("*/schedstat"):
                with suppress(OSError):
                    now[file] = int(file.read_text().split()[1])
        waited_ns = sum(waited - self._before.get(file, 0) for file, waited in now.items())
        self._before = now
        return waited_ns / 1e9


class Pulse:
    """Sends a few bytes to itself over TCP on loopback ten times a second, and notes how late they are.

    Loopback is served by a thread of the kernel that competes with everybody: where it gets no turn, messages lie
    still though node and subscriber run.
    """

    def __init__(self) -> None:
        self._late_s = 0.0
        with socket.create_server(("127.0.0.1", 0)) as server:
            self._near = socket.create_connection(server.getsockname())
            self._far, _ = server.accept()
        threading.Thread(target=self._beat, name="pulse", daemon=True).start()

    def since_last_s(self) -> float:
        """The longest delay since the last call."""
        late_s, self._late_s = self._late_s, 0.0
        return late_s

    def close(self) -> None:
        """End it."""
        self._near.close()
        self._far.close()

    def _beat(self) -> None:
        with suppress(OSError):  # closed
            while True:
                began_s = time.monotonic()
                time.sleep(BEAT_S)
                self._near.sendall(b"beat")
                if not self._far.recv(4):
                    return
                self._late_s = max(self._late_s, time.monotonic() - began_s - BEAT_S)
