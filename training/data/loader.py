"""The loader: augmented batches from worker processes behind ``keras.utils.PyDataset``.

Keras' own worker pools fork, which is unsafe once a backend has started its threads; here the workers
are spawned, import no Keras, and run a fixed number of batches ahead.
"""

from __future__ import annotations

import multiprocessing
import threading
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from types import TracebackType
from typing import Any

import keras
import numpy.typing as npt

from perception.errors import RoadcastError
from training.data.samples import Batch, Drawing, Images, draw_in_worker, start_worker

Targets = npt.NDArray[Any]


class Loader(keras.utils.PyDataset):  # type: ignore[misc]  # keras is untyped
    """``steps`` batches an epoch, drawn ahead of time by ``workers`` spawned processes.

    A batch is (images, (labels, labels)): one set of labels for each of the model's two outputs, or the two
    things to be learnt if the sampler draws two. Which batch it is depends on ``start_epoch`` and the index
    alone: Keras asks for some batches twice, to learn their shapes, and each backend does so in its own way.

    A context manager: leaving it ends the workers. ``failure`` is what went wrong in them; backends wrap
    an error that is raised while they read in one of their own.
    """

    def __init__(self, sampler: Drawing, steps: int, *, workers: int = 2, first_epoch: int = 0) -> None:
        super().__init__(workers=1, use_multiprocessing=False)
        self.failure: RoadcastError | None = None
        self._steps = steps
        self._epoch = first_epoch
        self._ahead: dict[int, Future[Batch]] = {}  # by position, counted over all epochs
        self._depth = 2 * workers
        self._lock = threading.Lock()  # backends read in threads of their own
        context = multiprocessing.get_context("spawn")
        self._pool = ProcessPoolExecutor(workers, context, start_worker, (sampler,))

    def __len__(self) -> int:
        return self._steps

    def start_epoch(self, epoch: int) -> None:
        """From now on, index 0 is the first batch of this epoch, counted from 0."""
        self._epoch = epoch

    def __getitem__(self, index: int) -> tuple[Images, tuple[Targets, Targets]]:
        """Batch ``index`` of the current epoch. Raises RoadcastError if it cannot be drawn."""
        position = self._epoch * self._steps + index
        try:
            images, labels = self._draw(position).result()
        except BrokenProcessPool:
            self.failure = RoadcastError("A worker process of the loader died; was there not enough memory?")
        except RoadcastError as error:
            self.failure = error
        else:
            if isinstance(labels, tuple):
                return images, labels
            return images, (labels, labels.copy())  # backends that donate buffers want each only once
        raise self.failure

    def _draw(self, position: int) -> Future[Batch]:
        """The future of one batch; those that follow it are started as well, those long passed are forgotten."""
        with self._lock:
            for later in range(position, position + self._depth):
                if later not in self._ahead:
                    self._ahead[later] = self._pool.submit(draw_in_worker, *divmod(later, self._steps))
            for passed in [p for p in self._ahead if p < position - 1]:
                del self._ahead[passed]
            return self._ahead[position]

    def __enter__(self) -> Loader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)
