"""Where things are kept that can be made again: ROADCAST_CACHE, or the user's folder for that."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

from perception.errors import ConfigError, OutputError

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
    """What ``write_whole`` left in the folder where it was killed, yesterday or before."""
    return [path for path in folder.glob(".*") if time.time() - last_used(path) > _ABANDONED_S]


def write_whole(path: Path, content: bytes) -> None:
    """Write a file that appears whole or not at all, whoever else writes it. Raises OutputError."""
    temporary = None
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}-", delete=False) as file:
            temporary = Path(file.name)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as error:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        raise OutputError(
            f"Cannot write {str(path)!r}: {error.strerror}. Check free space and the folder's permissions."
        ) from None
