"""Writing a recording so that it can be read at any moment: whole chunks, twice a second, and an index at the end."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, cast

from mcap.writer import Writer

from perception import __version__
from perception.errors import ConfigError, OutputError, RoadcastError
from perception.files import cannot_write, check_folder
from perception.recording.index import repair

FLUSH_S = 0.5  # what a kill can lose
CHUNK_BYTES = 4 * 2**20  # a chunk is closed at this size, or when it is flushed
OUT_OF_SPACE_TRIES = 20  # last chunks that may be given up to make room for the index


class _Disk:
    """What the MCAP library writes to: it collects whole records, and ``commit`` puts them on the disk at once."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._pending = bytearray()
        self.written = 0

    def write(self, data: bytes) -> int:
        self._pending += data
        return len(data)

    def tell(self) -> int:
        return self.written + len(self._pending)

    def flush(self) -> None:
        """The library flushes where the records are whole."""
        with memoryview(self._pending) as left:
            done = 0
            while done < len(left):
                done += os.write(self._descriptor, left[done:])
        self.written += len(self._pending)
        self._pending.clear()


class RecordingWriter:
    """An MCAP file that grows chunk by chunk.

    It has its own name from the beginning, for what is in it counts even if this process is killed: everything
    but the last half second. Leaving the ``with`` block in any other way writes the index.

    Args:
        overwrite: whether a file of that name is replaced.
        about: what is known of the recording, kept as MCAP metadata.
        sync: wait at every flush until the disk has it, so that a power cut loses no more than a kill.

    Raises:
        ConfigError: no such folder, the name of a folder, or a file that exists.
        OutputError: it cannot be written to.
    """

    def __init__(self, path: Path, *, about: Mapping[str, str], overwrite: bool = False, sync: bool = False) -> None:
        self.path = path
        self.messages = 0
        self._sync = sync
        self._descriptor = _create(path, overwrite=overwrite)
        self._disk = _Disk(self._descriptor)
        self._writer: Any = Writer(cast("IO[Any]", self._disk), chunk_size=CHUNK_BYTES)
        self._channels: dict[str, int] = {}
        self._schemas: dict[str, int] = {}
        self._offsets: list[int] = []  # where chunks begin, for the last resort
        self._due_s = time.monotonic() + FLUSH_S
        self._closed = False
        self._writer.start(library=f"roadcast {__version__}")
        self._writer.add_metadata("roadcast", dict(about))
        self._guarded(self._disk.flush)

    def __enter__(self) -> RecordingWriter:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self.close()

    @property
    def nbytes(self) -> int:
        """Size of the file, with what is not written yet."""
        return self._disk.tell()

    def size(self) -> int:
        """Size of the closed file; 0 where nothing was recorded and it was taken away."""
        return self.path.stat().st_size if self.path.exists() else 0

    def channel(self, topic: str, encoding: str, schema: tuple[str, str, bytes] | None = None) -> int:
        """The number of a channel, made when it is first asked for; ``schema`` is its name, encoding and text."""
        if topic not in self._channels:
            number = 0
            if schema is not None:
                if schema[0] not in self._schemas:
                    self._schemas[schema[0]] = self._writer.register_schema(*schema)
                number = self._schemas[schema[0]]
            self._channels[topic] = self._writer.register_channel(topic, encoding, number)
        return self._channels[topic]

    def add(self, channel: int, data: bytes, *, log_ns: int, publish_ns: int, sequence: int = 0) -> None:
        """Append one message. Raises OutputError, after which the file is closed, with all that was written before."""
        self._writer.add_message(channel, log_ns, data, publish_ns, sequence & 0xFFFFFFFF)
        self.messages += 1
        self.flush_if_due()

    def flush_if_due(self) -> None:
        """Write what has collected for half a second. Call it often. Raises OutputError as ``add``."""
        if time.monotonic() >= self._due_s:
            self._due_s = time.monotonic() + FLUSH_S
            self._guarded(self._flush)

    def close(self) -> None:
        """Write the index and close; an empty recording leaves no file. May be called twice. Raises OutputError."""
        if self._closed:
            return
        if not self.messages:
            self._abandon()
            self.path.unlink(missing_ok=True)
            return
        self._guarded(self._finish)
        self._abandon()

    def _flush(self) -> None:
        self._offsets.append(self._disk.written)
        self._writer.flush()
        if self._sync:
            os.fdatasync(self._descriptor)

    def _finish(self) -> None:
        self._flush()
        self._writer.finish()
        self._disk.flush()

    def _abandon(self) -> None:
        self._closed = True
        os.close(self._descriptor)

    def _guarded(self, write: Any) -> None:
        try:
            write()
        except OSError as error:
            self._save()
            what = "was written before is whole and can be replayed" if self._offsets else "could be written is nothing"
            raise OutputError(
                f"Cannot go on writing {str(self.path)!r}: {error.strerror}. What {what}. "
                "Check free space and permissions."
            ) from error

    def _save(self) -> None:
        """After a failed write: cut off the piece of a record, and write the index, if need be in place of the
        last chunks."""
        os.ftruncate(self._descriptor, self._disk.written)
        self._abandon()
        for offset in [self._disk.written, *reversed(self._offsets[-OUT_OF_SPACE_TRIES:])]:
            with suppress(RoadcastError):
                os.truncate(self.path, offset)
                repair(self.path)
                return


def _create(path: Path, *, overwrite: bool) -> int:
    if path.suffix.lower() != ".mcap":
        raise ConfigError(f"Cannot record to {str(path)!r}: the name must end in .mcap.")
    check_folder(path)
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | (os.O_TRUNC if overwrite else os.O_EXCL), 0o666)
    except FileExistsError:
        raise ConfigError(f"{str(path)!r} exists. Choose another name, or say --overwrite.") from None
    except OSError as error:
        raise cannot_write(path, error) from error
