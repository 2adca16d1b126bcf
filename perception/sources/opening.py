"""One way in: an address becomes a source."""

from __future__ import annotations

from pathlib import Path

from perception.errors import SourceNotFound
from perception.sources.address import redact, scheme_of
from perception.sources.patience import Patience
from perception.sources.source import Pace, Source, Tell

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
    patience: Patience | None = None,
    wait_for_device: bool = False,
    transport: str = "tcp",
    tell: Tell = lambda _: None,
) -> Source:
    """Open a camera, file, folder or address; its frames carry the name ``stream``.

    ``pace`` is for what is not live: ``real`` releases frames at their media times, ``max`` at once; ``rate``
    frames a second take the place of either (see ``Scheduled``). The others are for live sources, which connect
    when their frames are first asked for: how long they are waited for (see ``LiveCamera``), whether a
    device that does not exist is waited for, too, how RTSP comes, and who hears of their going and coming.
    Raises SourceNotFound where there is nothing of that name, SourceError where it cannot be read.
    """

    def camera(address: str, device_format: str | None) -> Source:
        from perception.sources.live import LiveCamera

        limits = patience or Patience()
        return LiveCamera(address, stream, device_format=device_format, transport=transport, patience=limits, tell=tell)

    scheme = scheme_of(uri)
    path = Path(uri.removeprefix("file://"))
    if scheme == "synth":
        return _rendered(uri, stream, pace, rate)
    if scheme in NETWORK_SCHEMES:
        return camera(uri, None)
    if scheme not in (None, "file"):
        raise SourceNotFound(f"Cannot open {redact(uri)!r}: {scheme}:// is not a known kind of address. {_ACCEPTED}")
    if uri.isascii() and uri.isdecimal():
        return camera(_device(Path(f"/dev/video{uri}"), wait=wait_for_device), _V4L2)
    try:
        if path.is_char_device() or (wait_for_device and path.parent == Path("/dev") and not path.exists()):
            return camera(str(path), _V4L2)
        if uri and (path.is_dir() or path.is_file() or any(sign in str(path) for sign in "*?[")):
            return _files(path, stream, pace, rate)
    except OSError as error:  # a folder that may not be entered, a name that is too long
        raise SourceNotFound(f"Cannot open {uri!r}: {error.strerror}. {_ACCEPTED}") from error
    raise SourceNotFound(f"There is no {redact(uri)!r}. {_ACCEPTED}")


def _rendered(uri: str, stream: str, pace: Pace, rate: float | None) -> Source:
    from perception.sources.synthetic import SyntheticStreet

    return SyntheticStreet(uri, stream, pace, rate)


def _device(path: Path, *, wait: bool) -> str:
    if not wait and not path.exists():
        there = " ".join(sorted(str(found) for found in Path("/dev").glob("video*"))) or "none at all"
        raise SourceNotFound(f"There is no camera {str(path)!r}; present: {there}. {_ACCEPTED}")
    return str(path)


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
