"""One way in: an address becomes a source."""

from __future__ import annotations

from pathlib import Path

from perception.errors import SourceNotFound
from perception.sources.address import redact, scheme_of
from perception.sources.source import Pace, Source

NETWORK_SCHEMES = frozenset({"rtsp", "rtsps", "rtmp", "rtmps", "http", "https"})
_V4L2 = "video4linux2,v4l2"
_ACCEPTED = (
    "Give a video file, an image, a folder of images, a pattern such as 'frames/*.png', a camera ('0' or"
    " '/dev/video0'), an rtsp://, rtmp:// or http:// address, or synth://street."
)


def open_source(
    uri: str,
    *,
    stream: str = "front",
    pace: Pace = "max",
    rate: float | None = None,
    open_timeout_s: float = 10.0,
    stall_s: float = 5.0,
) -> Source:
    """Open a camera, file, folder or address; its frames carry the name ``stream``.

    ``pace`` is for what is not live: ``real`` releases frames at their media times, ``max`` at once; ``rate``
    frames a second take the place of either (see ``Scheduled``). The two limits are for live sources: how
    long connecting may take, and how long the camera may be silent.
    Raises SourceNotFound where there is nothing of that name, SourceError where it cannot be read. A live
    source connects when its frames are first asked for.
    """
    scheme = scheme_of(uri)
    path = Path(uri.removeprefix("file://"))
    if scheme == "synth":
        return _rendered(uri, stream, pace, rate)
    if scheme in NETWORK_SCHEMES:
        return _camera(uri, stream, None, open_timeout_s, stall_s)
    if scheme not in (None, "file"):
        raise SourceNotFound(f"Cannot open {redact(uri)!r}: {scheme}:// is not a known kind of address. {_ACCEPTED}")
    if uri.isascii() and uri.isdecimal():
        return _camera(_device(Path(f"/dev/video{uri}")), stream, _V4L2, open_timeout_s, stall_s)
    try:
        if path.is_char_device():
            return _camera(str(path), stream, _V4L2, open_timeout_s, stall_s)
        if uri and (path.is_dir() or path.is_file() or any(sign in str(path) for sign in "*?[")):
            return _files(path, stream, pace, rate)
    except OSError as error:  # a folder that may not be entered, a name that is too long
        raise SourceNotFound(f"Cannot open {uri!r}: {error.strerror}. {_ACCEPTED}") from error
    raise SourceNotFound(f"There is no {redact(uri)!r}. {_ACCEPTED}")


def _rendered(uri: str, stream: str, pace: Pace, rate: float | None) -> Source:
    from perception.sources.synthetic import SyntheticStreet

    return SyntheticStreet(uri, stream, pace, rate)


def _device(path: Path) -> str:
    if not path.exists():
        there = " ".join(sorted(str(found) for found in Path("/dev").glob("video*"))) or "none at all"
        raise SourceNotFound(f"There is no camera {str(path)!r}; present: {there}. {_ACCEPTED}")
    return str(path)


def _camera(address: str, stream: str, device_format: str | None, open_s: float, stall_s: float) -> Source:
    from perception.sources.live import LiveCamera

    return LiveCamera(address, stream, device_format=device_format, open_s=open_s, stall_s=stall_s)


def _files(path: Path, stream: str, pace: Pace, rate: float | None) -> Source:
    if path.suffix.lower() == ".mcap" and path.is_file():
        from perception.recording.source import RecordedPictures

        return RecordedPictures(path, stream, pace, rate)
    from perception.sources.images import IMAGE_SUFFIXES, ImageFiles, folder_images, matching_images
    from perception.sources.video import VideoFile

    if path.is_dir():
        return ImageFiles(str(path), folder_images(path), stream, pace, rate)
    if not path.is_file():
        return ImageFiles(str(path), matching_images(str(path)), stream, pace, rate)
    if path.suffix.lower() in IMAGE_SUFFIXES:
        return ImageFiles(str(path), [path], stream, pace, rate)
    return VideoFile(path, stream, pace, rate)
