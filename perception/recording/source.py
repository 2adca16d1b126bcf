"""The camera pictures of a recording as a source, so that a node can run on them again."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

from perception.client.jpeg import decode_jpeg
from perception.errors import SourceError, WireError
from perception.ledger import Ledger
from perception.recording.reader import Recording
from perception.sources.pacing import SECOND_NS, pacer
from perception.sources.source import Pace
from perception.types import CaptureTime, Frame
from perception.wire.message import Message


class RecordedPictures:
    """The pictures of one stream of a recording, in the order in which they were recorded.

    Their media times are the recorded capture times, from 0; each keeps its JPEG, which the publisher sends as it
    is, so that what a node makes of a recording was made of exactly the pictures that it sends along. Where
    the recording has one stream with pictures, that is taken, whatever its name; of several the one called
    ``stream``. ``number`` counts the pictures that were recorded.

    Raises:
        SourceError: not a recording, or one without pictures.
        ConfigError: several streams have pictures, and none of them is called ``stream``.
    """

    live = False

    def __init__(self, path: Path, stream: str, pace: Pace, rate: float | None) -> None:
        self.uri = str(path)
        self._path = path
        self._stream = stream
        self._pace = pace
        self._rate = rate
        self._closed = threading.Event()
        with Recording(path) as recording:
            topics = recording.topics()
            chosen = stream if (stream, "image") in topics else None
            self._recorded = recording.stream_with(("image",), chosen)
            self.promised = topics[self._recorded, "image"]
            length_ns = recording.end_ns - recording.start_ns
        known = self.promised is not None and self.promised > 1 and length_ns > 0
        self.fps: float | None = ((self.promised or 0) - 1) * SECOND_NS / length_ns if known else None

    def frames(self, ledger: Ledger) -> Iterator[Frame]:
        """Every picture; those that cannot be decoded are captured and dropped as ``decode_error``."""
        pace = pacer(self._pace, self._rate, self.fps, self._closed.wait)
        start_ns: int | None = None
        bad = number = 0
        with Recording(self._path) as recording:
            for message in recording.messages(kinds=("image",)):
                if message.stream != self._recorded:
                    continue
                captured_ns = message.header.time.captured_ns or 0
                start_ns = captured_ns if start_ns is None else start_ns
                if not pace.wait(captured_ns - start_ns, number) or self._closed.is_set():
                    return
                ledger.capture(number)
                frame = self._frame(message, number, pace.grab("virtual", captured_ns - start_ns))
                if frame is None:
                    ledger.drop(number, "decode_error")
                    bad += 1
                else:
                    yield frame
                number += 1
        if bad:
            raise SourceError(f"{bad} of {number} pictures of {self.uri!r} could not be decoded.")

    def close(self) -> None:
        """End the iteration before its next frame."""
        self._closed.set()

    def _frame(self, message: Message, number: int, time: CaptureTime) -> Frame | None:
        part, payload = message.part("image")
        try:
            image = decode_jpeg(part, payload)
        except WireError:
            return None
        return Frame(self._stream, number, time, image, jpeg=bytes(payload))
