"""One way in: an address becomes a source."""

from __future__ import annotations

from pathlib import Path

from perception.errors import SourceNotFound
from perception.sources.address import redact, scheme_of
from perception.sources.source import Pace, Source

_ACCEPTED = (
    "Give a video file, a folder of images, a pattern such as 'frames/*.png', a camera ('0' or /dev/video0), or an"
    " rtsp:// or http:// address."
)


def open_source(uri: str, *, stream: str = "front", pace: Pace = "max") -> Source:
    """Open a camera, file, folder or address; frames carry the name ``stream``.

    ``pace`` holds for what is not live: ``real`` releases frames at their media times, ``max`` at once.
    Raises SourceNotFound where there is nothing of that name, SourceError where it cannot be read.
    """
    path = Path(uri.removeprefix("file://"))
    scheme = scheme_of(uri)
    if scheme not in (None, "file"):
        raise SourceNotFound(f"Cannot open {redact(uri)!r}: {scheme}:// is not a known kind of address. {_ACCEPTED}")
    if path.is_file():
        return _video_file(path, stream, pace)
    raise SourceNotFound(f"There is no {redact(uri)!r}. {_ACCEPTED}")


def _video_file(path: Path, stream: str, pace: Pace) -> Source:
    from perception.sources.video import VideoFile

    return VideoFile(path, stream, pace)
