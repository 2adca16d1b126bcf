"""Runs batches on worker threads, a bounded number of them between submit and result."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from dataclasses import dataclass

from perception.engines.engine import Batch, Outputs
from perception.engines.slots import Slot, Slots, closed
from perception.errors import EngineError, RoadcastError


@dataclass(frozen=True, slots=True)
class _Run:
    """What a worker brings back: outputs, and the monotonic times between which it computed them."""

    outputs: Outputs
    started_ns: int
    finished_ns: int


class PooledBatch:
    """A batch in a RunPool: the ``Pending`` of engines that run on worker threads."""

    def __init__(self, future: Future[_Run], slot: Slot, engine: str) -> None:
        self.started_ns = 0
        self.finished_ns = 0
        self._future = future
        self._slot = slot
        self._engine = engine

    def result(self) -> Outputs:
        """Wait for the outputs; the arrays belong to the caller. Raises EngineError."""
        try:
            run = self._future.result()
        except CancelledError:
            raise closed(self._engine) from None
        finally:
            self._slot.give()
        self.started_ns, self.finished_ns = run.started_ns, run.finished_ns
        return run.outputs


class RunPool:
    """Calls ``run`` on ``workers`` threads, at most ``slots`` batches between ``submit`` and ``result``.

    ``run`` takes a batch and returns new arrays; whatever it raises reaches the caller of ``result`` as
    EngineError.
    """

    def __init__(self, run: Callable[[Batch], Outputs], *, engine: str, workers: int, slots: int) -> None:
        self._run = run
        self._engine = engine
        self._slots = Slots(slots, engine)
        self._executor = ThreadPoolExecutor(workers, thread_name_prefix=engine)

    def submit(self, frames: Batch) -> PooledBatch:
        """Queue one batch, or block while no slot is free. Raises EngineError once closed."""
        slot = self._slots.take()
        try:
            return PooledBatch(self._executor.submit(self._work, frames), slot, self._engine)
        except RuntimeError:  # the executor was shut down between the two
            raise closed(self._engine) from None

    def close(self) -> None:
        """Cancel what has not begun and wait for what has."""
        self._slots.close()
        self._executor.shutdown(wait=True, cancel_futures=True)

    def _work(self, frames: Batch) -> _Run:
        started = time.monotonic_ns()
        try:
            outputs = self._run(frames)
        except RoadcastError:
            raise
        except Exception as error:
            raise failed(self._engine, frames, error) from error
        return _Run(outputs, started, time.monotonic_ns())


def failed(engine: str, frames: Batch, error: Exception) -> EngineError:
    """What a caller gets when the runtime behind an engine raised ``error``."""
    first_line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return EngineError(f"The engine {engine!r} failed on a batch of shape {frames.shape}: {first_line}")
