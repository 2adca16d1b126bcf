"""How much the machine itself is in the way: what is late for want of a processor or of the network stack."""

from __future__ import annotations

import os
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


class Stolen:
    """How long a processor of this machine was not run at all, for it is a virtual one: ``steal`` of proc_stat(5).

    Whoever is on such a processor counts as running, while neither its thread nor the network stack there moves.
    """

    def __init__(self) -> None:
        self._before = _steal_s()

    def since_last_s(self) -> float:
        """Seconds since the last call, of the processor that lost most."""
        now, before = _steal_s(), self._before
        self._before = now
        return max((later - earlier for later, earlier in zip(now, before)), default=0.0)


def _steal_s() -> list[float]:
    lines = Path("/proc/stat").read_text().splitlines()
    ticks = [int(line.split()[8]) for line in lines if line.startswith("cpu") and line[3].isdigit()]
    return [tick / os.sysconf("SC_CLK_TCK") for tick in ticks]


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
