"""``roadcast`` in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

PATIENCE_S = 60.0  # of anything that should take a second or two


def command(*words: object) -> list[str]:
    return [sys.executable, "-m", "perception", *map(str, words)]


def environment() -> dict[str, str]:
    """That of this process without settings of roadcast's."""
    return {name: value for name, value in os.environ.items() if not name.startswith("ROADCAST_")}


def finished(*words: object, preexec: Callable[[], None] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*words),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
        env=environment(),
        preexec_fn=preexec,
    )


@contextmanager
def running(*args: object, says: str = "") -> Iterator[subprocess.Popen[str]]:
    """A node in a process of its own, from the moment that its stderr said ``says``."""
    process = subprocess.Popen(
        command("run", *args), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment()
    )
    try:
        assert process.stderr is not None
        if says:
            seen = []
            for line in process.stderr:
                seen.append(line)
                if says in line:
                    break
            else:
                pytest.fail(f"never said {says!r}: {''.join(seen)}")
        yield process
    finally:
        process.kill()
        process.communicate()
