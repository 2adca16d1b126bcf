"""Processes that are started: none is left behind, whenever the signal comes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from perception.children import started

SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]


def test_a_process_ends_with_the_block(tmp_path: Path) -> None:
    with started([sys.executable, "-c", "import os; print(os.environ['WORD'])"], {"WORD": "here"}) as child:
        said, _ = child.communicate()
    assert (said, child.returncode) == ("here\n", 0)
    with pytest.raises(OSError, match="No space"), started(SLEEP) as child:
        raise OSError(28, "No space left on device")
    assert child.returncode == -signal.SIGKILL
    with pytest.raises(FileNotFoundError), started([str(tmp_path / "none")]):
        pass


def test_a_signal_during_the_start_leaves_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """The signal comes when the process exists and Popen has not returned it yet."""
    born: list[subprocess.Popen[str]] = []
    popen = subprocess.Popen

    def interrupted(*args: object, **kwargs: object) -> subprocess.Popen[str]:
        born.append(popen(*args, **kwargs))  # type: ignore[call-overload]
        os.kill(os.getpid(), signal.SIGINT)
        return born[0]

    monkeypatch.setattr(subprocess, "Popen", interrupted)
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), started(SLEEP):
        pytest.fail("the block must not begin")
    assert born[0].returncode == -signal.SIGKILL
    assert signal.getsignal(signal.SIGINT) is handler


def test_any_thread_may_start_one() -> None:
    codes: list[int] = []

    def work() -> None:
        with started(SLEEP) as child:
            pass
        codes.append(child.returncode)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(30)
    assert codes == [-signal.SIGKILL]
