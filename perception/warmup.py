"""The first batches of an engine, before a frame waits for it."""

from __future__ import annotations

from contextlib import suppress

import numpy as np

from perception.engines.engine import Pending, ResizingEngine
from perception.engines.recorded import RecordedEngine
from perception.errors import SourceError
from perception.ledger import Ledger
from perception.serving import Serving
from perception.sources import Source
from perception.types import Size

# What a camera most likely sends, where no frame has told yet.
TYPICAL_SIZE: Size = (1280, 720)


def first_size(source: Source) -> Size | None:
    """The (w, h) of a recording's frames; None of a camera's: it is not asked, because its frames do not come twice."""
    if not source.live:
        with suppress(SourceError):  # it will be met again, and told, when the frames are read
            for frame in source.frames(Ledger()):
                return frame.size
    return None


def warm_up(serving: Serving, source_size: Size | None) -> None:
    """Fill all slots once: the first batches allocate, and some runtimes compile for the size they see.

    Raises:
        EngineError: the engine fails.
    """
    engine, known = serving.engine, source_size or TYPICAL_SIZE
    network_size = serving.network_size(known)
    width, height = known if isinstance(engine, ResizingEngine) else network_size
    black = np.zeros((engine.spec.batch or serving.batch, height, width, 3), np.uint8)

    def submit() -> Pending:
        if isinstance(engine, ResizingEngine):
            return engine.submit_resized(black, network_size)
        return engine.submit(black)

    for pending in [submit() for _ in range(engine.slots)]:
        pending.result()
    if isinstance(engine, RecordedEngine):  # its answers are those of the source's frames, from the first one on
        engine.rewind()
