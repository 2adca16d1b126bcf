"""Where things are kept that can be made again: ROADCAST_CACHE, or the user's folder for that."""

from __future__ import annotations

import os
import time
from pathlib import Path

from perception.errors import ConfigError

_ABANDONED_S = 24 * 3600.0  # a temporary file this old is no longer written by anybody


def cache_folder(part: str) -> Path:
    """The folder for one part of the program, created where it is missing. Raises ConfigError where it cannot be."""
    user = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    folder = Path(os.environ.get("ROADCAST_CACHE") or f"{user}/roadcast").expanduser() / part
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError) as error:  # RuntimeError: nobody knows where home is
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(
            f"Cannot create the folder {str(folder)!r}: {reason}. Name another in the environment as ROADCAST_CACHE."
        ) from None
    return folder


def last_used(path: Path) -> float:
    """When a file was last written or marked as used, as Unix time; 0 where it is gone."""
    try:
        return path.stat().st_mtime
    except OSError:  # removed meanwhile
        return 0.0


def abandoned(folder: Path) -> list[Path]:
    """What ``perception.files.write_whole`` left in the folder where it was killed, yesterday or before."""
    return [path for path in folder.glob(".*") if time.time() - last_used(path) > _ABANDONED_S]
