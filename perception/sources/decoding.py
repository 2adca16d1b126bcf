"""Reads one video stream packet by packet, and keeps account of what could not be read."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass

import av
from av.packet import Packet
from av.video.stream import VideoStream

from perception.sources.pacing import SECOND_NS, Pacer
from perception.types import CaptureTime


@dataclass(frozen=True, slots=True)
class Grabbed:
    """A decoded picture, the container's time of it and the moment its grab began; None is a lost picture."""

    time: CaptureTime
    picture: av.VideoFrame | None


class Grabber:
    """One pass over the packets of a video stream.

    A packet that cannot be decoded is skipped and decoding goes on behind it, as players do. It counts
    as one lost frame at its place in time, unless the decoder makes a picture of that time all the same.
    So does a picture that the decoder itself calls corrupt. Others that were predicted from a lost one may
    show its traces until the next key frame.

    ``first`` is a time in units of the stream: pictures before it, which the decoder needs to get there, are neither
    waited for nor handed out.
    """

    def __init__(
        self, packets: Iterator[Packet[VideoStream]], stream: VideoStream, pace: Pacer, first: int | None = None
    ) -> None:
        # One thread: frame threads cost 4 to 12 % more core time (measured), which inference could use, and
        # blame an error on another packet than the broken one; slice threads hide that a picture is smeared.
        stream.thread_type = "SLICE"
        stream.codec_context.thread_count = 1
        self._demuxed = packets
        self._stream = stream
        self._pace = pace
        self._first = first
        self._waiting: list[int] = []  # a heap of the times of the packets that went into the decoder
        self._broken: list[int] = []  # times of the packets that it refused
        self._undated = 0  # packets that it refused and that have no time
        self._told = 0  # pictures handed out, lost ones included
        self.decoded = 0
        self.damage: str | None = None  # where and how reading first went wrong
        self.broken_off = False  # the container could not be read to its end
        self.end_ns: int | None = None  # media time of the latest picture

    def grabs(self) -> Iterator[Grabbed]:
        """Pictures in order of presentation, until the end or until the pace says that the source was closed."""
        for packet in self._packets():
            if packet.pts is not None and not packet.is_discard:
                heapq.heappush(self._waiting, packet.pts)
            if not self._wait_for_next():
                return
            time = self._pace.grab("media")
            for position, picture in enumerate(self._decode(packet)):
                if position:  # the decoder gave several at once, as it does at the end
                    if not self._wait_for_next():
                        return
                    time = self._pace.grab("media")
                grabs = (*self._lost_before(picture.pts, time), self._grabbed(picture, time))
                if self._is_before_first(picture.pts):
                    continue
                for grabbed in grabs:
                    self._told += 1
                    yield grabbed
        yield from self._lost_before(None, self._pace.grab("media"))

    def _packets(self) -> Iterator[Packet[VideoStream]]:
        while True:
            try:
                packet = next(self._demuxed)
            except (StopIteration, av.EOFError):
                return
            except av.FFmpegError as error:
                self._note(self.end_ns, error)
                self.broken_off = True
                return
            yield packet

    def _wait_for_next(self) -> bool:
        # In a steady stream the earliest time inside the decoder is that of the picture that comes out next.
        if self._waiting and self._is_before_first(self._waiting[0]):
            return True
        if self._waiting:
            return self._pace.wait(self._media_ns(self._waiting[0]), self._told)
        return self._pace.wait(None, self._told) if self.decoded else True

    def _is_before_first(self, pts: int | None) -> bool:
        return self._first is not None and pts is not None and pts < self._first

    def _decode(self, packet: Packet[VideoStream]) -> list[av.VideoFrame]:
        try:
            return packet.decode()
        except av.EOFError:
            return []
        except av.FFmpegError as error:
            self._note(self._media_ns(packet.pts), error)
            if packet.size == 0:  # the request for the last pictures, not a picture
                return []
            if packet.pts is None:
                self._undated += 1
            else:
                heapq.heappush(self._broken, packet.pts)
            return []

    def _grabbed(self, picture: av.VideoFrame, time: CaptureTime) -> Grabbed:
        pts = picture.pts
        while self._waiting and (pts is None or self._waiting[0] <= pts):
            heapq.heappop(self._waiting)
            if pts is None:
                break
        media_ns = self._media_ns(pts)
        if picture.is_corrupt:
            self._note(media_ns, av.InvalidDataError(0, "the decoder calls the picture corrupt"))
            return Grabbed(time, None)
        self.decoded += 1
        self.end_ns = media_ns if media_ns is not None else self.end_ns
        return Grabbed(CaptureTime(time.captured_ns, time.captured_mono_ns, media_ns, "media"), picture)

    def _lost_before(self, pts: int | None, time: CaptureTime) -> Iterator[Grabbed]:
        """The lost pictures that belong before this time; all that are left before None, the end."""
        for _ in range(self._undated):
            yield Grabbed(time, None)
        self._undated = 0
        while self._broken and (pts is None or self._broken[0] <= pts):
            if heapq.heappop(self._broken) != pts:
                yield Grabbed(time, None)

    def _media_ns(self, pts: int | None) -> int | None:
        """Nanoseconds, rounded once from the container's own fraction; never made from frame numbers."""
        if pts is None or self._stream.time_base is None:
            return None
        return round(pts * SECOND_NS * self._stream.time_base)

    def _note(self, where: int | None, error: av.FFmpegError) -> None:
        if self.damage is None:
            place = "at a place without a time" if where is None else f"at {where / SECOND_NS:.3f} s"
            self.damage = f"{place} ({error.strerror})"
