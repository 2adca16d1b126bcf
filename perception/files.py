"""Files that appear under their name only when they are whole."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from perception.errors import ConfigError, OutputError
from perception.types import Image


def check_folder(path: Path) -> None:
    """Raise ConfigError unless a file can lie at this path."""
    if not path.parent.is_dir():
        raise ConfigError(f"Cannot write {str(path)!r}: there is no folder {str(path.parent)!r}. Create it first.")
    if path.is_dir():
        raise ConfigError(f"Cannot write {str(path)!r}: it is a folder. Give the name of a file.")
    if path.exists() and not path.is_file():  # a file that is moved over a device would take its place
        raise ConfigError(f"Cannot write {str(path)!r}: it is no ordinary file. Give the name of one.")


def temporary_beside(path: Path, suffix: str | None = None) -> Path:
    """A new empty file in the folder of ``path``, to be moved over it when it is whole.

    Args:
        suffix: None for that of ``path``, by which a library may tell the format.

    Raises:
        OutputError: the folder cannot be written to.
    """
    try:
        handle, name = tempfile.mkstemp(
            prefix=f".{path.stem}-", suffix=path.suffix if suffix is None else suffix, dir=path.parent
        )
    except OSError as error:
        raise cannot_write(path, error) from error
    mask = os.umask(0)
    os.umask(mask)
    os.fchmod(handle, 0o666 & ~mask)  # mkstemp hides the file from everybody else
    os.close(handle)
    return Path(name)


def save_png(path: Path, image: Image) -> None:
    """Write a PNG.

    Raises:
        OutputError: it cannot be written; an existing file of that name stays as it was.
    """
    import cv2

    done, data = cv2.imencode(".png", image)
    if not done:
        raise OutputError(f"Cannot write {str(path)!r}: an image of shape {image.shape} does not fit into a PNG.")
    write_whole(path, data.tobytes())


def write_whole(path: Path, content: bytes | str) -> None:
    """Write a file that appears whole or not at all, whoever else writes it; text as UTF-8.

    Raises:
        OutputError: it cannot be written; an existing file of that name stays as it was.
    """
    temporary = temporary_beside(path, ".part")  # what looks for files of a kind must not find it
    try:
        with temporary.open("wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())  # else a power cut may leave the name without the content
        temporary.replace(path)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def cannot_write(path: Path, error: Exception) -> OutputError:
    """The error for a file that could not be written, with the reason the system gave."""
    if isinstance(error, FileNotFoundError):
        return OutputError(f"Cannot write {str(path)!r}: there is no folder {str(path.parent)!r}. Create it first.")
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return OutputError(f"Cannot write {str(path)!r}: {reason}. Check free space and the folder's permissions.")
