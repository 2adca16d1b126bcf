"""Live cameras: captured in a child process that can be killed, newest frame first, losses counted."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import suppress

from perception.errors import SourceError
from perception.ledger import Ledger
from perception.sources.address import redact, without_credentials
from perception.sources.capture import Job
from perception.sources.child import CaptureProcess
from perception.sources.handover import Taken
from perception.sources.patience import Absence, Patience
from perception.sources.source import News, Tell
from perception.types import Frame

STALL_PERIODS = 3
_POLL_S = 0.2


class LiveCamera:
    """A camera device or a network stream.

    ``frames`` starts the capture; ``fps`` is known once it is connected. Only the newest picture is kept:
    those overwritten in between are captured and dropped as ``stale``, those that the decoder refused as
    ``decode_error``. A camera is away when it cannot be reached within ``patience.open_s`` seconds, gives no
    frame for ``stall_s`` seconds or three periods, whichever is longer, or ends the connection. Then it is
    tried again, the first time or any other, and ``tell`` hears of it; SourceError is raised where ``patience``
    says that it is not, or not any more. Numbers go on over all connections.
    """

    live = True
    promised: int | None = None

    def __init__(
        self,
        address: str,
        stream: str,
        *,
        device_format: str | None,
        transport: str = "tcp",
        patience: Patience,
        tell: Tell = lambda _: None,
    ) -> None:
        self.uri = redact(address)
        self.fps: float | None = None
        self._job = Job(address, device_format, transport, patience.open_s, patience.stall_s, fd=-1)
        self._patience = patience
        self._tell = tell
        self._stream = stream
        self._closed = threading.Event()
        self._process: CaptureProcess | None = None

    def frames(self, ledger: Ledger) -> Iterator[Frame]:
        """The newest frame each time, until the camera is given up, its recording ends or the source is closed."""
        count, absence, pause_s = _Count(ledger), Absence(self._patience), 0.0
        while not self._closed.is_set():
            try:
                for frame in self._connection(count, pause_s):
                    if absence.ends():
                        away_s = round(absence.away_s, 3)
                        self._tell(News("recovered", {"away_s": away_s, "attempts": absence.attempts}))
                    yield frame
            except SourceError as error:
                if self._closed.is_set():
                    return
                pause_s = absence.goes_on(error)
                self._tell(
                    News(
                        "reconnecting",
                        {
                            "reason": str(error),
                            "attempt": absence.attempts,
                            "pause_s": round(pause_s, 3),
                            "away_s": round(absence.away_s, 3),
                        },
                    )
                )
            else:
                return

    def close(self) -> None:
        """Kill the capture; the iteration ends at once."""
        self._closed.set()
        if self._process is not None:
            self._process.kill()

    def _connection(self, count: _Count, pause_s: float) -> Iterator[Frame]:
        """Frames from one connecting to its end, after a pause; the count goes on over several of them.

        The capture loads its libraries during the pause, which takes a second where others want the processor, too.
        """
        try:
            self._process = process = CaptureProcess(self._job)
        except OSError as error:
            self._closed.wait(pause_s)
            raise SourceError(
                f"Cannot open {self.uri!r}: no process could be started to read it ({error.strerror}). "
                "Has this machine, or this user, too many processes or open files?"
            ) from error
        try:
            if self._closed.wait(pause_s):
                return
            process.begin()
            yield from self._pictures(process, count)
        finally:
            process.end()
            count.rest(process)
            process.close()

    def _pictures(self, process: CaptureProcess, count: _Count) -> Iterator[Frame]:
        quiet_s = 0.0
        while not self._closed.is_set():
            asked, was_connected = time.monotonic(), process.connected
            process.listen(_POLL_S)
            self.fps = process.fps
            if process.connected and not was_connected:
                quiet_s = 0.0
            taken = process.take()
            if self._closed.is_set():
                return
            if taken is not None:
                quiet_s = 0.0
                yield Frame(self._stream, count.took(taken), taken.time, taken.image)
            elif process.ended is not None:
                if process.ended:
                    raise SourceError(self._why(process))
                return
            else:
                # Time in which this process did not run itself says nothing about the camera.
                quiet_s += min(time.monotonic() - asked, 2 * _POLL_S)
                self._check_silence(quiet_s, process)

    def _check_silence(self, quiet_s: float, process: CaptureProcess) -> None:
        if not process.connected and quiet_s > self._job.open_s:
            raise SourceError(f"Cannot open {self.uri!r}: no answer within {self._job.open_s:g} s. Is the camera on?")
        limit_s = max(self._job.stall_s, STALL_PERIODS / process.fps if process.fps else 0.0)
        if process.connected and quiet_s > limit_s:
            raise SourceError(f"{self.uri!r} has frozen: connected, but no frame for {limit_s:g} s.")

    def _why(self, process: CaptureProcess) -> str:
        reason = without_credentials(process.ended or "", self._job.address)
        if not process.connected:
            return f"Cannot open {self.uri!r}: {reason}. Check the address and that the camera is on."
        return f"{self.uri!r} is gone: {reason}."


class _Count:
    """Numbers the grabs of a camera over all its connections, and books those that never became a frame."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._next = 0
        self._grabbed = 0  # of this connection: how many grabs are booked, and how many of them had failed
        self._failed = 0

    def took(self, taken: Taken) -> int:
        """Book a picture that was taken over, and those lost before it; returns its number."""
        self._lost(taken.number - self._grabbed, taken.failed - self._failed)
        self._grabbed, self._failed = taken.number + 1, taken.failed
        return self._capture()

    def rest(self, process: CaptureProcess) -> None:
        """Book what a killed capture had grabbed and nobody took."""
        taken = process.take()
        if taken is not None:
            self._ledger.drop(self.took(taken), "shutdown")
        with suppress(TimeoutError):  # what a capture grabbed that is stuck and cannot even be killed, nobody knows
            grabbed, failed = process.totals()
            self._lost(grabbed - self._grabbed, failed - self._failed)
        self._grabbed = self._failed = 0

    def _lost(self, grabs: int, failed: int) -> None:
        for position in range(grabs):
            self._ledger.drop(self._capture(), "decode_error" if position < failed else "stale")

    def _capture(self) -> int:
        number = self._next
        self._next += 1
        self._ledger.capture(number)
        return number
