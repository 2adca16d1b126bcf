"""Files that appear whole or not at all."""

from __future__ import annotations

from pathlib import Path

from perception.errors import OutputError


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file under a temporary name in its own folder, then rename it.

    Raises:
        OutputError: the folder is missing, not writable or full; nothing is left behind.
    """
    temporary = path.with_name(path.name + ".part")
    try:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)
        temporary.replace(path)
    except OSError as error:
        if temporary.is_file():
            temporary.unlink()
        raise OutputError(f"Cannot write {path}: {error.strerror}.") from None
