"""Processes that this one starts and must not leave behind."""

from __future__ import annotations

import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

_ENDING = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def started(command: Sequence[str], environment: Mapping[str, str] | None = None) -> Iterator[subprocess.Popen[str]]:
    """A process without input, its output as text in pipes; killed and waited for if it is still there in the end.

    ``environment`` is the process's, None for that of this one. A Ctrl-C that comes while the process is being
    started takes effect when it can be ended: Popen alone would forget what it has just begun.
    """
    child: subprocess.Popen[str] | None = None
    try:
        with _signals_held():
            child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env=environment,
            )
        yield child
    finally:
        if child is not None:
            child.kill()  # does nothing to one that has ended
            child.wait()
            for stream in (child.stdout, child.stderr):
                if stream is not None:
                    stream.close()


@contextmanager
def _signals_held() -> Iterator[None]:
    """While inside, SIGINT and SIGTERM are kept for afterwards; what is ignored stays so, here and in the child."""
    if threading.current_thread() is not threading.main_thread():  # no other is ever interrupted by a signal
        yield
        return
    came: list[int] = []
    heeded = [number for number in _ENDING if signal.getsignal(number) not in (signal.SIG_IGN, None)]
    before = {number: signal.signal(number, lambda number, _: came.append(number)) for number in heeded}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    for received in came:
        signal.raise_signal(received)
