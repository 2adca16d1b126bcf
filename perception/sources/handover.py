"""Hands the newest picture from a capturing process to the node through shared memory.

The memory has no name: it lives as long as a process holds it, so that nothing is left behind however
the two end. It is sparse: three places for the largest picture that the protocol allows, of which only
the pages ever written cost memory. At any moment one place holds the newest picture, one may be held by
the reader, and the writer fills a third one; so neither waits for the other and no torn picture is seen.
A record lock, which the kernel releases when its owner dies, guards the few numbers that say which is which.
"""

from __future__ import annotations

import fcntl
import math
import mmap
import os
import struct
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from perception.types import CaptureTime, Image

LARGEST_SIDE = 8192
_PLACES = 3
_NOBODY = -1
_STATE = struct.Struct("<qqqq")  # newest place, held place, pictures grabbed, pictures that failed to decode
_PICTURE = struct.Struct("<qqqqqqq")  # number, failed before it, width, height, captured, captured_mono, media
_NO_MEDIA = -(2**63)
_HEADER_BYTES = 4096
_PLACE_BYTES = LARGEST_SIDE * LARGEST_SIDE * 3
_TOTAL_BYTES = _HEADER_BYTES + _PLACES * _PLACE_BYTES
_LOCK_RETRY_S = 0.0005


@dataclass(frozen=True, slots=True)
class Taken:
    """A picture taken over; ``number`` counts all grabs from 0, ``failed`` of which were no pictures so far."""

    number: int
    failed: int
    time: CaptureTime
    image: Image  # (H, W, 3) u8 BGR, the reader's own copy


class Handover:
    """One end of the shared memory. ``fd`` is to be passed on to the other process.

    Every call raises TimeoutError when the other process holds the lock longer than ``patience_s``.
    """

    def __init__(self, fd: int, patience_s: float = math.inf) -> None:
        self.fd = fd
        self._patience_s = patience_s
        self._memory = mmap.mmap(fd, _TOTAL_BYTES)

    @staticmethod
    def create(patience_s: float) -> Handover:
        """New shared memory with nothing in it."""
        if hasattr(os, "memfd_create"):
            fd = os.memfd_create("roadcast-capture")
        else:
            with tempfile.TemporaryFile() as file:
                fd = os.dup(file.fileno())
        try:
            os.ftruncate(fd, _TOTAL_BYTES)
            handover = Handover(fd, patience_s)
        except BaseException:
            os.close(fd)
            raise
        _STATE.pack_into(handover._memory, 0, _NOBODY, _NOBODY, 0, 0)
        return handover

    def close(self) -> None:
        """Let go of the memory; the kernel frees it when both ends have."""
        self._memory.close()
        os.close(self.fd)

    def put(self, image: Image, at: CaptureTime) -> None:
        """Writer: make this the newest picture."""
        height, width = image.shape[:2]
        if max(height, width) > LARGEST_SIDE:
            raise ValueError(f"pictures may be {LARGEST_SIDE} pixels wide and high at most, got {width}x{height}")
        with self._locked():
            newest, held, _, _ = self._state()
        place = next(place for place in range(_PLACES) if place not in (newest, held))
        np.copyto(self._pixels(place, width, height), image)
        with self._locked():
            _, held, grabbed, failed = self._state()
            media = _NO_MEDIA if at.media_ns is None else at.media_ns
            times = (at.captured_ns, at.captured_mono_ns, media)
            _PICTURE.pack_into(self._memory, _picture_at(place), grabbed, failed, width, height, *times)
            _STATE.pack_into(self._memory, 0, place, held, grabbed + 1, failed)

    def fail(self) -> None:
        """Writer: something was grabbed that could not be decoded."""
        with self._locked():
            newest, held, grabbed, failed = self._state()
            _STATE.pack_into(self._memory, 0, newest, held, grabbed + 1, failed + 1)

    def take(self) -> Taken | None:
        """Reader: copy the newest picture out, None where there is none since the last one."""
        with self._locked():
            place, _, grabbed, failed = self._state()
            if place == _NOBODY:
                return None
            _STATE.pack_into(self._memory, 0, _NOBODY, place, grabbed, failed)
        number, failed, width, height, captured, mono, media = _PICTURE.unpack_from(self._memory, _picture_at(place))
        image = self._pixels(place, width, height).copy()
        with self._locked():
            newest, _, grabbed, failed_now = self._state()
            _STATE.pack_into(self._memory, 0, newest, _NOBODY, grabbed, failed_now)
        time = CaptureTime(captured, mono, None if media == _NO_MEDIA else media, "wall")
        return Taken(number, failed, time, image)

    def totals(self) -> tuple[int, int]:
        """Pictures grabbed, and how many of them could not be decoded."""
        with self._locked():
            _, _, grabbed, failed = self._state()
            return grabbed, failed

    def _state(self) -> tuple[int, int, int, int]:
        newest, held, grabbed, failed = _STATE.unpack_from(self._memory, 0)
        return newest, held, grabbed, failed

    def _pixels(self, place: int, width: int, height: int) -> Image:
        start = _HEADER_BYTES + place * _PLACE_BYTES
        return np.frombuffer(self._memory, np.uint8, width * height * 3, start).reshape(height, width, 3)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        # Tried and not waited for: the reader must be able to give up on a writer that was stopped meanwhile.
        deadline = time.monotonic() + self._patience_s
        while True:
            try:
                fcntl.lockf(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise TimeoutError("the capturing process holds the lock and does not run") from None
                time.sleep(_LOCK_RETRY_S)
        try:
            yield
        finally:
            fcntl.lockf(self.fd, fcntl.LOCK_UN)


def _picture_at(place: int) -> int:
    return _STATE.size + place * _PICTURE.size
