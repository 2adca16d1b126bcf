"""What a source is: frames of one camera, file, folder or rendered scene, in order."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, Protocol

from perception.ledger import Ledger
from perception.types import Frame

Pace = Literal["real", "max"]


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
