"""``roadcast run`` in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest


def command(*args: object) -> list[str]:
    """The command line of a node."""
    return [sys.executable, "-m", "perception", "run", *map(str, args)]


def environment() -> dict[str, str]:
    """That of this process without settings of roadcast's."""
    return {name: value for name, value in os.environ.items() if not name.startswith("ROADCAST_")}


@contextmanager
def running(*args: object, says: str = "") -> Iterator[subprocess.Popen[str]]:
    """A node in a process of its own, from the moment that its stderr said ``says``."""
    process = subprocess.Popen(
        command(*args), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment()
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
