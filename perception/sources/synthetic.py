"""The rendered street as a source: ``synth://street?seed=1&size=1280x720&fps=30&weather=day&frames=300``."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from perception.ledger import Ledger
from perception.sources.jump import Jump, Place, index_of
from perception.sources.pacing import SECOND_NS, pacer
from perception.sources.source import Pace
from perception.synth.options import format_uri, parse_uri
from perception.synth.street import Street
from perception.types import Frame


class SyntheticStreet:
    """Frames rendered one after the other from number 0; endless unless the address says ``frames``.

    Media times are those of the virtual camera, place over fps. Nothing is ever dropped.

    Raises:
        ConfigError: the address has an unknown option or a value that cannot be rendered.
    """

    live = False

    def __init__(self, uri: str, stream: str, pace: Pace, rate: float | None) -> None:
        self._options = parse_uri(uri)
        self.uri = format_uri(self._options)
        self.fps: float | None = self._options.fps
        self.promised = self._options.frames
        self._stream = stream
        self._pace = pace
        self._rate = rate
        self._closed = threading.Event()
        self._jump = Jump()

    def frames(self, ledger: Ledger) -> Iterator[Frame]:
        """Render frame after frame; under pace ``real`` each is released at its media time, or as ``rate`` says."""
        options = self._options
        street = Street(options.seed, options.size, options.fps, options.weather)
        pace = pacer(self._pace, self._rate, options.fps, self._closed.wait)
        number = index = 0
        while True:
            place = self._jump.take()
            if place is not None:
                index = self._index(place)
                pace = pacer(self._pace, self._rate, options.fps, self._closed.wait)
            if self.promised is not None and index >= self.promised:
                return
            media_ns = round(index * SECOND_NS / options.fps)
            if not pace.wait(media_ns, number) or self._closed.is_set():
                return
            time = pace.grab("virtual", media_ns)
            ledger.capture(number)
            yield Frame(self._stream, number, time, street.render(index).image)
            number, index = number + 1, index + 1

    def check(self, place: Place) -> None:
        """Whether there is that frame. See ``Seekable``."""
        self._index(place)

    def seek(self, place: Place) -> None:
        """Render that frame next. See ``Seekable``."""
        self.check(place)
        self._jump.ask(place)

    def close(self) -> None:
        """End the iteration before its next frame."""
        self._closed.set()

    def _index(self, place: Place) -> int:
        return index_of(place, fps=self._options.fps, count=self.promised, uri=self.uri)
