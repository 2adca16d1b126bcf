"""What tests of live cameras share: scripts of a camera, and a look at what is left when its frames were read."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator

from mjpeg_server import Camera, Script, camera_server

from perception.errors import SourceError
from perception.ledger import Ledger, LedgerEntry
from perception.sources import Patience, open_source
from perception.types import Frame

STALL_S = 1.0


def watch(
    script: Script, frames_wanted: int | None = None, login: str = "", pause_s: float = 0
) -> tuple[list[Frame], LedgerEntry, SourceError | None]:
    """Frames of a camera that runs this script, until it ends or so many have come."""
    frames: list[Frame] = []
    ledger, error = Ledger(), None
    with camera_server(script) as (url, _):
        source = open_source(url.replace("//", f"//{login}"), stream="rear", patience=Patience(stall_s=STALL_S))
        iterator = source.frames(ledger)
        try:
            for frame in iterator:
                ledger.publish(frame.number)
                frames.append(frame)
                time.sleep(pause_s)
                if len(frames) == frames_wanted:
                    break
        except SourceError as caught:
            error = caught
        finally:
            iterator.close()  # type: ignore[attr-defined]
            source.close()
    entry = ledger.entry()
    assert entry.balanced
    assert entry.in_flight == 0
    assert entry.published == len(frames)
    assert no_children()
    return frames, entry, error


def publish_all(frames: Iterator[Frame], ledger: Ledger) -> None:
    for frame in frames:
        ledger.publish(frame.number)


def no_children() -> bool:
    """Whether every capture was ended and waited for: no zombie, no survivor."""
    listed = subprocess.run(["ps", "--ppid", str(os.getpid()), "-o", "args="], capture_output=True, text=True)
    return "perception.sources.capture" not in listed.stdout and "defunct" not in listed.stdout


def forever(camera: Camera) -> None:
    camera.begin()
    camera.stream(100_000)


def then_freeze(camera: Camera) -> None:
    camera.begin()
    camera.stream(10)
    camera.stop.wait()
