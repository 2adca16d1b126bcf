"""The node's side of a capturing child process: starts it, hears from it, and is sure to end it."""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
from dataclasses import replace

from perception.sources.capture import Job
from perception.sources.handover import Handover, Taken

_LOCK_PATIENCE_S = 1.0
_EXIT_S = 1.0


class CaptureProcess:
    """A child that captures one camera, after ``begin``. It ends when ``kill`` is called, or when this process is gone.

    A subprocess and not ``multiprocessing``, which would run the user's main module once more; killed at
    once and not asked to stop, because a read that hangs in a driver does not listen.

    Raises:
        OSError: the machine has no process, memory or file for it just now.
    """

    def __init__(self, job: Job) -> None:
        self.connected = False
        self.fps: float | None = None
        self.ended: str | None = None  # why, "" for a recording that was read to its end, None while it runs
        self._unread = b""
        self._handover = Handover.create(_LOCK_PATIENCE_S)
        job = replace(job, fd=self._handover.fd)
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "perception.sources.capture"],
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,  # FFmpeg writes addresses with their passwords there
                pass_fds=[job.fd],
            )
        except BaseException:
            self._handover.close()
            raise
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._stdin, self._stdout = self._process.stdin, self._process.stdout
        self._job = job

    def begin(self) -> None:
        """Let it connect. Until then it has loaded its libraries and waits."""
        with contextlib.suppress(BrokenPipeError):  # it died already, and listen() will say so
            self._stdin.write(self._job.to_json().encode())

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._process.pid

    def listen(self, timeout_s: float) -> None:
        """Wait for a picture or other news, and remember the news."""
        if self.ended is not None or not select.select([self._stdout], [], [], timeout_s)[0]:
            return
        heard = os.read(self._stdout.fileno(), 1 << 16)
        *lines, self._unread = (self._unread + heard).split(b"\n")
        for line in filter(None, lines):
            self._note(json.loads(line))
        if not heard and self.ended is None:
            self.ended = self._how_it_died()

    def take(self) -> Taken | None:
        """The newest picture, None where there is none since the last one."""
        try:
            return self._handover.take()
        except TimeoutError as error:
            self.ended = str(error)
            return None

    def totals(self) -> tuple[int, int]:
        """Pictures grabbed, and how many of them could not be decoded; final once the child was killed.

        Raises:
            TimeoutError: the child holds the lock and does not run.
        """
        return self._handover.totals()

    def kill(self) -> None:
        """End the child, and do not wait for that: a node has several. May be called twice and from any thread."""
        self._process.kill()

    def end(self) -> None:
        """End the child and wait until it is gone."""
        self.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):  # stuck in a driver: the kernel ends it later
            self._process.wait(_EXIT_S)

    def close(self) -> None:
        """End the child and let go of pipes and memory; for the thread that listens."""
        self.end()
        self._stdin.close()
        self._stdout.close()
        self._handover.close()

    def _note(self, news: dict[str, object]) -> None:
        if "opened" in news:
            self.connected = True
            fps = news["opened"]
            self.fps = fps if isinstance(fps, float) else None
        elif "ended" in news:
            self.ended = "" if news["ended"] == "complete" else "the camera ended the stream"
        else:
            self.ended = str(news["failed"])

    def _how_it_died(self) -> str:
        try:
            code = self._process.wait(_EXIT_S)
        except subprocess.TimeoutExpired:
            return "the capturing process closed its output"
        how = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
        return f"the capturing process {how}"
