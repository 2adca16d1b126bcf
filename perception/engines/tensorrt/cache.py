"""The cache of compiled engines: a flat folder of engine files with passports, named by what they were compiled from.

    <cache>/engines/<model>-<key>.engine     <cache>/engines/<model>-<key>.json
    <cache>/engines/<model>-<key>.lock       while a build of it is under way

The key is the sha256 of everything that decides what a build gives: the ONNX file, TensorRT, GPU, shapes and flags.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from perception.cache import abandoned, cache_folder, last_used
from perception.engines.tensorrt.build import Recipe
from perception.engines.tensorrt.library import Library
from perception.engines.tensorrt.passport import Passport, passport_path, read_passport
from perception.errors import EngineError, OutputError

SUFFIX = ".engine"
KEY_DIGITS = 16
_POLL_S = 0.2


def engines_folder() -> Path:
    """The folder of compiled engines. Raises ConfigError if it cannot be created."""
    return cache_folder("engines")


def cache_key(onnx_sha256: str, library: Library, recipe: Recipe) -> str:
    """Hex digits that differ whenever a build could give something else."""
    parts = {
        "onnx": onnx_sha256,
        "backend": library.backend,
        "version": library.version,
        "target": recipe.target,
        "is_current_gpu": recipe.is_current_gpu,
        "shapes": recipe.shapes.to_json(),
        "flags": recipe.flags(),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:KEY_DIGITS]


def engine_path(model_id: str, key: str) -> Path:
    """Where an engine of this key lies."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "_", model_id)[:64]
    return engines_folder() / f"{name}-{key}{SUFFIX}"


@dataclass(frozen=True, slots=True)
class Entry:
    """One engine of the cache; where its passport cannot be read, why."""

    path: Path
    passport: Passport | None
    problem: str | None


def entries() -> list[Entry]:
    """Every engine of the cache, the newest first."""
    found = []
    for path in sorted(engines_folder().glob(f"*{SUFFIX}"), key=last_used, reverse=True):
        try:
            found.append(Entry(path, read_passport(path), None))
        except EngineError as error:
            found.append(Entry(path, None, str(error)))
    return found


def remove(path: Path) -> None:
    """Remove an engine with its passport. Raises OutputError."""
    try:
        path.unlink(missing_ok=True)  # first: a passport without an engine is never used
        passport_path(path).unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"Cannot remove {str(path)!r}: {error.strerror}.") from None


def leftovers() -> list[Path]:
    """What builds left that were killed: temporary files of yesterday or before, passports without an engine."""
    folder = engines_folder()
    return abandoned(folder) + [path for path in folder.glob("*.json") if not path.with_suffix(SUFFIX).exists()]


@contextmanager
def build_lock(engine: Path, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold the right to build one engine; the lock of a builder that died is free at once.

    Args:
        waiting: is called five times a second while another process holds it.

    Raises:
        OutputError: the lock file cannot be written.
    """
    path = engine.with_suffix(".lock")
    handle = _acquire(path, waiting)
    try:
        yield
    finally:
        with suppress(OSError):
            path.unlink()  # while it is held: who waits for it notices that it is gone and takes a new one
        os.close(handle)


def _acquire(path: Path, waiting: Callable[[], None]) -> int:
    while True:
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise OutputError(
                f"Cannot write the lock {str(path)!r}: {error.strerror}. Name another folder in ROADCAST_CACHE."
            ) from None
        try:
            _wait_for(handle, waiting)
            if _is_still(path, handle):
                return handle
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)


def _wait_for(handle: int, waiting: Callable[[], None]) -> None:
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting()
            time.sleep(_POLL_S)
        else:
            return


def _is_still(path: Path, handle: int) -> bool:
    """Whether the file that was locked is the one that lies there: its last holder removed it otherwise."""
    try:
        there = path.stat()
    except FileNotFoundError:
        return False
    mine = os.fstat(handle)
    return (there.st_dev, there.st_ino) == (mine.st_dev, mine.st_ino)
