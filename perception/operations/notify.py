"""Word to the service manager by systemd's protocol (sd_notify(3)): ready, how it goes, still alive, stopping."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import suppress

from perception.operations.board import Board
from perception.summary import Status
from perception.terminal import status_text

SAY_PERIOD_S = 5.0  # between two lines for ``systemctl status``
# While an engine is compiled a start may take minutes; it goes on as long as somebody goes round here.
EXTENSION_US = 30_000_000


class Notifier:
    """Tells the manager in ``NOTIFY_SOCKET`` how a node fares; without that variable it tells nobody.

    The watchdog is fed by the publishing thread, and only while frames that are under way get published: neither
    a hanging engine nor a stuck loop keeps it quiet.
    """

    def __init__(
        self, board: Board, environment: Mapping[str, str] = os.environ, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._board = board
        self._clock = clock
        self._address = environment.get("NOTIFY_SOCKET", "")
        self._watchdog_s = _watchdog_s(environment)
        self._ready = False
        self._fed_s = self._said_s = -1e9
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) if self._address else None
        if self._socket is not None:
            self._socket.setblocking(False)  # a manager that does not read must not stop the frames

    def show(self, status: Status) -> None:
        """Tell what is due. For the publishing thread, after the board was shown the same."""
        now, lines = self._clock(), []
        if not self._ready and self._board.ready:
            self._ready, self._said_s = True, -1e9
            lines.append("READY=1")
        if now - self._said_s >= SAY_PERIOD_S:
            self._said_s = now
            lines.append(f"STATUS={status_text(status)}")
            if not self._ready:
                lines.append(f"EXTEND_TIMEOUT_USEC={EXTENSION_US}")
        # Twice as often as has to be, as sd_watchdog_enabled(3) advises.
        if self._watchdog_s and self._board.alive and now - self._fed_s >= self._watchdog_s / 2:
            self._fed_s = now
            lines.append("WATCHDOG=1")
        self._send(lines)

    def close(self) -> None:
        """Say that the node is stopping."""
        self._send(["STOPPING=1"])
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, lines: list[str]) -> None:
        if self._socket is not None and lines:
            address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
            with suppress(OSError):  # a manager that is gone is not worth a frame
                self._socket.sendto("\n".join(lines).encode(), address)


def _watchdog_s(environment: Mapping[str, str]) -> float:
    """Seconds within which the manager wants to be fed; 0 where it does not, or means another process."""
    interval, owner = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID", "")
    if not interval.isdigit() or (owner and owner != str(os.getpid())):
        return 0.0
    return int(interval) / 1e6
