"""What a source is: frames of one camera, file, folder or rendered scene, in order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from perception.ledger import Ledger
from perception.types import Frame

Pace = Literal["real", "max"]


@dataclass(frozen=True, slots=True)
class News:
    """What happened to a camera: it went away and is tried again, or it is back.

    ``detail`` is that of the event of this name: of ``reconnecting`` the ``reason``, the ``attempt`` (1 is
    the first), ``pause_s`` until it is tried again and ``away_s`` so far; of ``recovered`` ``away_s`` and ``attempts``.
    """

    name: Literal["reconnecting", "recovered"]
    detail: Mapping[str, object]


Tell = Callable[[News], None]


class Source(Protocol):
    """Frames in order, each counted in the ledger at the moment it is grabbed.

    ``live`` sources keep only the newest frame and drop the rest as ``stale``; others lose nothing.
    """

    uri: str  # as a user may see it: credentials are redacted
    live: bool
    fps: float | None  # nominal frames a second, None where unknown
    promised: int | None  # frames that the container says it holds, None where it does not say

    def frames(self, ledger: Ledger) -> Iterator[Frame]:
        """Grab frames until the end. What is readable comes first; then SourceError if it ended early.

        Closing the iterator stops the source within 2 s.
        """
        ...

    def close(self) -> None:
        """Release the device, file or child process. May be called twice, and from another thread."""
        ...
