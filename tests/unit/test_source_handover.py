"""The shared memory between a capture and the node: newest first, never torn, every grab counted."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator

import numpy as np
import pytest

from perception.sources.handover import LARGEST_SIDE, Handover
from perception.types import CaptureTime

AT = CaptureTime(5, 6, 7, "media")


@pytest.fixture
def ends() -> Iterator[tuple[Handover, Handover]]:
    reader = Handover.create(patience_s=5)
    writer = Handover(os.dup(reader.fd))
    yield writer, reader
    writer.close()
    reader.close()


def picture(value: int, width: int = 8, height: int = 4) -> np.ndarray:
    return np.full((height, width, 3), value, np.uint8)


def test_nothing_then_a_picture_then_nothing(ends: tuple[Handover, Handover]) -> None:
    writer, reader = ends
    assert reader.take() is None
    writer.put(picture(9), AT)
    taken = reader.take()
    assert taken is not None
    assert taken.time == CaptureTime(5, 6, 7, "wall")
    assert np.array_equal(taken.image, picture(9))
    assert reader.take() is None
    assert reader.totals() == (1, 0)


def test_the_newest_wins_and_the_others_are_counted(ends: tuple[Handover, Handover]) -> None:
    writer, reader = ends
    for value in range(5):
        writer.put(picture(value), AT)
    writer.fail()
    writer.put(picture(5, 16, 2), CaptureTime(5, 6))
    taken = reader.take()
    assert taken is not None
    assert (taken.number, taken.failed, taken.image[0, 0, 0]) == (6, 1, 5)
    assert taken.image.shape == (2, 16, 3)
    assert taken.time.media_ns is None


def test_the_copy_belongs_to_the_reader(ends: tuple[Handover, Handover]) -> None:
    writer, reader = ends
    writer.put(picture(1), AT)
    taken = reader.take()
    for value in range(2, 9):
        writer.put(picture(value), AT)
    assert taken is not None
    assert np.all(taken.image == 1)


def test_too_large_a_picture_is_refused(ends: tuple[Handover, Handover]) -> None:
    with pytest.raises(ValueError, match="8192 pixels"):
        ends[0].put(np.zeros((1, LARGEST_SIDE + 1, 3), np.uint8), AT)


def test_no_torn_picture_is_ever_seen() -> None:
    """A writer in another process at full speed, sizes changing, against a reader at full speed."""
    reader = Handover.create(patience_s=20)
    stop_read, stop_write = os.pipe()
    code = (
        "import os, sys, select, numpy as np\n"
        "from perception.sources.handover import Handover\n"
        "from perception.types import CaptureTime\n"
        "h = Handover(int(sys.argv[1])); n = 0\n"
        "while not select.select([int(sys.argv[2])], [], [], 0)[0]:\n"
        "    v = n % 251; h.put(np.full((200 + v, 300, 3), v, np.uint8), CaptureTime(n, n)); n += 1\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(reader.fd), str(stop_read)], pass_fds=[reader.fd, stop_read]
    )
    watchdog = threading.Timer(60, process.kill)
    watchdog.start()
    seen, last = 0, -1
    while seen < 300 and process.poll() is None:
        taken = reader.take()
        if taken is not None:
            value = taken.number % 251
            assert taken.image.shape == (200 + value, 300, 3)
            assert np.all(taken.image == value)
            assert taken.number > last
            assert taken.time.captured_ns == taken.number
            last, seen = taken.number, seen + 1
    os.write(stop_write, b"x")
    assert process.wait(20) == 0
    watchdog.cancel()
    assert seen == 300
    for fd in (stop_read, stop_write):
        os.close(fd)
    reader.close()
