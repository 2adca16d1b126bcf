"""Video files, read through PyAV without loss and checked against what their container promised."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from fractions import Fraction
from itertools import chain, islice
from pathlib import Path

import av
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from perception.errors import RequestError, SourceError
from perception.ledger import Ledger
from perception.sources.decoding import Grabber
from perception.sources.jump import Jump, Place, check_within
from perception.sources.pacing import SECOND_NS, pacer
from perception.sources.picture import Converter
from perception.sources.source import Pace
from perception.types import Frame

# A container without a frame count announces its length only roughly.
LENGTH_TOLERANCE_S = 1.0
LOOKED_AT = 16  # packets, to learn whether each has its time
_RENDERS_TEXT = {"tty", "bin", "adf", "idf", "xbin"}  # FFmpeg would draw a text file as a picture


class VideoFile:
    """A video file. ``frames`` starts from the beginning each time that it is called.

    Media times are the container's. The promise is the container's frame count without the frames
    that its edit list hides; None where it has none (Matroska, raw streams): then the announced length is
    compared. Raises SourceError at once where the file holds no video, and at the end of the frames
    where some were unreadable or missing.
    """

    live = False

    def __init__(self, path: Path, stream: str, pace: Pace, rate: float | None) -> None:
        self.uri = str(path)
        self._path = path
        self._stream = stream
        self._pace = pace
        self._rate = rate
        self._closed = threading.Event()
        self._jump = Jump()
        with self._opened() as (container, video):
            nominal = video.average_rate or video.guessed_rate
            self.fps = float(nominal) if nominal else None
            self.promised = _promised(video)
            self._end_s = _length_s(container, video)
            self._length_s = None if self.promised else self._end_s
            self._has_times = _has_times(container, video)

    def frames(self, ledger: Ledger) -> Iterator[Frame]:
        """Every readable frame; pictures that cannot be decoded are captured and dropped as ``decode_error``."""
        convert = Converter()
        number = 0
        damage: str | None = None  # of any part that was read: a jump away from it does not mend it
        while True:
            place = self._jump.take()
            with self._begun(place) as (packets, video, first):
                pace = pacer(self._pace, self._rate, self.fps, self._closed.wait)
                grabber = Grabber(packets, video, pace, first)
                for grabbed in grabber.grabs():
                    if self._closed.is_set():
                        return
                    ledger.capture(number)
                    if grabbed.picture is None:
                        ledger.drop(number, "decode_error")
                    else:
                        yield Frame(self._stream, number, grabbed.time, convert.image(grabbed.picture))
                    number += 1
                    if self._jump.waiting:
                        break
            damage = damage or grabber.damage
            if not self._jump.waiting:
                break
        if not self._closed.is_set():
            self._judge(grabber, damage, whole=place is None)

    def check(self, place: Place) -> None:
        """Whether there is that place, as far as the container says how long it is. See ``Seekable``."""
        if not self._has_times:
            raise RequestError(
                f"{self.uri!r} does not say the time of every frame, so no place in it can be found. Put it into a "
                "container that does, such as MP4 or Matroska."
            )
        if place.frame is not None:
            check_within(place, place.frame, self.promised, self.uri)
        elif self._end_s is not None and (place.media_ns or 0) >= self._end_s * SECOND_NS:
            raise RequestError(f"{self.uri!r} is {self._end_s:.3f} s long; {place} is behind its end.")

    def seek(self, place: Place) -> None:
        """Go on there, exactly: decoding begins at the key frame before it. See ``Seekable``."""
        self.check(place)
        self._jump.ask(place)

    def close(self) -> None:
        """End the iteration before its next frame; the file itself is closed where the iteration ends."""
        self._closed.set()

    @contextmanager
    def _opened(self) -> Iterator[tuple[InputContainer, VideoStream]]:
        try:
            container = av.open(str(self._path), metadata_errors="replace")
        except (av.FFmpegError, OSError) as error:
            raise SourceError(f"Cannot read {self.uri!r} as video: {_reason(self._path, error)}") from error
        with container:
            yield container, _video_stream(container, self.uri)

    @contextmanager
    def _begun(self, place: Place | None) -> Iterator[tuple[Iterator[Packet[VideoStream]], VideoStream, int | None]]:
        """Packets from which everything from a place on can be decoded, and its time in units of the stream."""
        with self._opened() as (container, video), ExitStack() as parts:
            if place is None:
                yield container.demux(video), video, None
                return
            try:
                first = _time_of(place, container, video)
                packets = _before(first, container, video)
            except av.FFmpegError as error:
                raise SourceError(f"{self.uri!r}: cannot go to {place}: {_reason(self._path, error)}") from error
            if packets is None:
                container, video = parts.enter_context(self._opened())
                packets = container.demux(video)
            yield packets, video, first

    def _judge(self, grabber: Grabber, damage: str | None, *, whole: bool) -> None:
        got = grabber.decoded
        if not whole:  # what the container promised of all of it says nothing about a part
            if damage:
                raise SourceError(f"{self.uri!r}: corrupt {damage}.")
            return
        if self.promised is not None and (got < self.promised or damage):
            why = f"corrupt {damage}" if damage else "it is truncated or its index is wrong"
            raise SourceError(f"{self.uri!r} promised {self.promised} frames, {got} could be read: {why}.")
        if damage:
            raise SourceError(f"{self.uri!r}: {got} frames could be read, corrupt {damage}.")
        if got == 0:
            raise SourceError(f"{self.uri!r} has a video track, but not one frame in it. Is the file complete?")
        end_s = (grabber.end_ns or 0) / SECOND_NS
        if self._length_s is not None and end_s + 1 / (self.fps or 1) + LENGTH_TOLERANCE_S < self._length_s:
            raise SourceError(
                f"{self.uri!r} promised {self._length_s:.3f} s of video, but it ends after {got} frames at"
                f" {end_s:.3f} s: the file is truncated."
            )


def _video_stream(container: InputContainer, uri: str) -> VideoStream:
    moving = [video for video in container.streams.video if "attached_pic" not in str(video.disposition.name)]
    if not moving or container.format.name in _RENDERS_TEXT:
        others = sorted({stream.type for stream in container.streams} - {"video"})
        holds = f"only {' and '.join(others)}" if others else "nothing that can be shown"
        raise SourceError(f"{uri!r} holds no video, {holds}. Give a video file.")
    if moving[0].codec_context is None:
        raise SourceError(f"{uri!r} is encoded in a way that this build of FFmpeg cannot decode. Convert it to H.264.")
    return moving[0]


def _has_times(container: InputContainer, video: VideoStream) -> bool:
    """Whether its packets say when they are shown, by the first of them: MPEG program streams say it of some only."""
    if video.start_time is None or video.time_base is None:
        return False
    packets = islice(container.demux(video), LOOKED_AT)
    try:
        return all(packet.pts is not None for packet in packets if packet.size)
    except av.FFmpegError:
        return False


def _time_of(place: Place, container: InputContainer, video: VideoStream) -> int:
    """A place in units of the stream. Raises av.FFmpegError where a frame is asked for and none can be read."""
    assert video.time_base is not None  # asked by check
    if place.media_ns is not None:
        return math.ceil(Fraction(place.media_ns, SECOND_NS) / video.time_base)
    # Packets come in the order of decoding; their times alone say which picture is shown as the k-th.
    times: list[int] = []
    with suppress(av.FFmpegError):  # as far as it can be read
        times.extend(p.pts for p in container.demux(video) if p.pts is not None and not p.is_discard)
    if not times:
        raise av.InvalidDataError(0, "no frame of it can be read")
    return sorted(times)[min(place.frame or 0, len(times) - 1)]


def _before(first: int, container: InputContainer, video: VideoStream) -> Iterator[Packet[VideoStream]] | None:
    """Packets from the last key frame up to this time, or from one further back; None: from the beginning on.

    A container without an index, such as a transport stream, goes to a packet near the time, and the next key frame
    may be behind it; then it is asked for an earlier time.
    """
    assert video.time_base is not None
    second, start, back = round(1 / video.time_base), video.start_time or 0, 0
    while first - back >= start:
        container.seek(first - back, stream=video, backward=True)
        packets = container.demux(video)
        key = next((packet for packet in packets if packet.is_keyframe and packet.pts is not None), None)
        if key is not None and key.pts is not None and key.pts <= first:
            return chain((key,), packets)
        back = max(second, 2 * back)
    return None


def _promised(video: VideoStream) -> int | None:
    formats = video.container.format.name.split(",")
    if "mov" in formats and video.frames:
        # An edit list hides samples, which the count in the header still holds.
        return min(video.frames, sum(not entry.is_discard for entry in video.index_entries))
    if "avi" in formats and len(video.index_entries) < video.frames:
        return None  # AVI counts moments: one in which the picture stays the same counts, but holds no frame
    return video.frames or None


def _length_s(container: InputContainer, video: VideoStream) -> float | None:
    """The announced end of this track; of the whole file only where nothing else could make it longer."""
    if video.duration is not None and video.time_base is not None:
        return float((video.duration + (video.start_time or 0)) * video.time_base)
    tag = video.metadata.get("DURATION", "").split(":")  # Matroska: 00:00:08.840000000
    if len(tag) == 3:
        return int(tag[0]) * 3600 + int(tag[1]) * 60 + float(tag[2])
    if container.duration is not None and len(container.streams) == 1:
        return (container.duration + (container.start_time or 0)) / av.time_base
    return None


def _reason(path: Path, error: Exception) -> str:
    if path.stat().st_size == 0:
        return "the file is empty."
    if isinstance(error, av.InvalidDataError):
        return "it is not a video, or its index is missing because it was cut off. Check that it plays."
    return f"{getattr(error, 'strerror', None) or error}."
