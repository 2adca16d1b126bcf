"""An engine with exact service times and no work: for proofs about scheduling, and for benchmarks.

    simulated://?infer_ms=8&slots=2

It behaves like one device that serves one batch after the other, each for ``infer_ms``, and uses no core
meanwhile. Every label map is filled with one class, the blue value of its frame's first pixel modulo the
number of classes, so that a test can tell whose answer it holds.
"""

from __future__ import annotations

import threading
import time
from urllib.parse import parse_qsl, urlsplit

import numpy as np

from perception.classes import CITYSCAPES
from perception.engines.contract import check_frames
from perception.engines.engine import Batch, ModelSpec, Outputs
from perception.engines.slots import Slot, Slots, closed
from perception.errors import EngineUnavailable

NAME = "simulated"


class SimulatedEngine:
    """Serves batches one after the other, each for ``infer_ms`` milliseconds."""

    name = NAME
    fell_back = False

    def __init__(self, *, infer_ms: float = 8.0, slots: int = 2) -> None:
        self.spec = ModelSpec(
            id=NAME, sha256="", precision="none", classes=CITYSCAPES, outputs=("labels", "confidence")
        )
        self.slots = slots
        self.reason = f"A simulated device that takes {infer_ms:g} ms a batch, as asked for."
        self._service_ns = round(infer_ms * 1e6)
        self._slots = Slots(slots, NAME)
        self._lock = threading.Lock()
        self._free_at_ns = 0
        self._closed = threading.Event()

    def submit(self, frames: Batch) -> _Service:
        """Queue one batch, or block while no slot is free. See ``Engine``."""
        check_frames(self.spec, frames)
        slot = self._slots.take()
        with self._lock:
            started = max(time.monotonic_ns(), self._free_at_ns)
            self._free_at_ns = started + self._service_ns
            return _Service(frames, started, self._free_at_ns, slot, self._closed)

    def close(self) -> None:
        """Release everyone who waits for a slot or a result."""
        self._closed.set()
        self._slots.close()


class _Service:
    def __init__(
        self, frames: Batch, started_ns: int, finished_ns: int, slot: Slot, engine_closed: threading.Event
    ) -> None:
        self.started_ns = started_ns
        self.finished_ns = finished_ns
        self._shape = frames.shape[:3]
        self._classes = frames[:, 0, 0, 0] % len(CITYSCAPES)
        self._slot = slot
        self._engine_closed = engine_closed

    def result(self) -> Outputs:
        """Wait until the service time is over. Raises EngineError if the engine is closed before."""
        wait_s = (self.finished_ns - time.monotonic_ns()) / 1e9
        interrupted = self._engine_closed.wait(max(0.0, wait_s))
        self._slot.give()
        if interrupted:
            raise closed(NAME)
        labels = np.broadcast_to(self._classes[:, None, None], self._shape).astype(np.uint8)
        return {"labels": labels, "confidence": np.full(self._shape, 255, np.uint8)}


def open_simulated(uri: str, *, slots: int | None = None) -> SimulatedEngine:
    """The engine of ``simulated://?infer_ms=8&slots=2``; ``slots`` overrides. Raises EngineUnavailable."""
    wrong = EngineUnavailable(
        f"Cannot read {uri!r}: write simulated://?infer_ms=8&slots=2 with a time of at least 0 and 1 slot or more."
    )
    parts = urlsplit(uri)
    given = dict(parse_qsl(parts.query))
    if parts.scheme not in ("", NAME) or set(given) - {"infer_ms", "slots"}:
        raise wrong
    try:
        infer_ms, count = float(given.get("infer_ms", "8")), slots or int(given.get("slots", "2"))
    except ValueError:
        raise wrong from None
    if not 0 <= infer_ms < 1e6 or count < 1:
        raise wrong
    return SimulatedEngine(infer_ms=infer_ms, slots=count)
