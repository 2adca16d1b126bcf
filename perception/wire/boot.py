"""The host's boot id: monotonic times of two processes compare only where it is equal."""

from __future__ import annotations

import hashlib
import time
import uuid
from functools import cache
from pathlib import Path

_LINUX = Path("/proc/sys/kernel/random/boot_id")


@cache
def boot_id() -> bytes:
    """8 bytes that all processes of this host share until it boots again."""
    try:
        return uuid.UUID(_LINUX.read_text().strip()).bytes[:8]
    except (OSError, ValueError):
        # Elsewhere: the machine and the minute it booted in, which is exact enough to tell two boots apart.
        booted = round((time.time() - time.monotonic()) / 60)
        return hashlib.sha256(f"{uuid.getnode():x} {booted}".encode()).digest()[:8]
