"""The rendered street as a source: ``synth://street?seed=1&size=1280x720&fps=30&weather=day&frames=300``."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from perception.ledger import Ledger
from perception.sources.pacing import SECOND_NS, pacer
from perception.sources.source import Pace
from perception.synth.options import format_uri, parse_uri
from perception.synth.street import Street
from perception.types import Frame


class SyntheticStreet:
    """Frames rendered one after the other from number 0; endless unless the address says ``frames``.

    Media times are those of the virtual camera, frame number over fps. Nothing is ever dropped.

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

    def frames(self, ledger: Ledger) -> Iterator[Frame]:
        """Render frame after frame; under pace ``real`` each is released at its media time, or as ``rate`` says."""
        options = self._options
        street = Street(options.seed, options.size, options.fps, options.weather)
        pace = pacer(self._pace, self._rate, options.fps, self._closed.wait)
        number = 0
        while self.promised is None or number < self.promised:
            media_ns = round(number * SECOND_NS / options.fps)
            if not pace.wait(media_ns, number) or self._closed.is_set():
                return
            time = pace.grab("virtual", media_ns)
            ledger.capture(number)
            yield Frame(self._stream, number, time, street.render(number).image)
            number += 1

    def close(self) -> None:
        """End the iteration before its next frame."""
        self._closed.set()
