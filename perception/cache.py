"""Where things are kept that can be made again: ROADCAST_CACHE, or the user's folder for that."""

from __future__ import annotations

import os
from pathlib import Path

from perception.errors import ConfigError


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
