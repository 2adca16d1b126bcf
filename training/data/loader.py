"""The loader: augmented batches from worker processes behind ``keras.utils.PyDataset``.

Keras' own worker pools fork, which is unsafe once a backend has started its threads; here the workers
are spawned, import no Keras, and run a fixed number of batches ahead.
"""

from __future__ import annotations

import multiprocessing
from collections import deque
from concurrent.futures import Future, ProcessPoolExecutor
from types import TracebackType

import keras

from training.data.samples import Batch, Images, Labels, Sampler, draw_in_worker, start_worker


class Loader(keras.utils.PyDataset):  # type: ignore[misc]  # keras is untyped
    """``steps`` batches an epoch, drawn ahead of time by ``workers`` spawned processes.

    A batch is (images, (labels, labels)): one set of labels for each of the model's two outputs.

    A context manager: leaving it ends the workers.
    """

    def __init__(self, sampler: Sampler, steps: int, *, workers: int = 2, first_epoch: int = 0) -> None:
        super().__init__(workers=1, use_multiprocessing=False)
        self._steps = steps
        self._position = first_epoch * steps
        self._ahead: deque[Future[Batch]] = deque()
        self._depth = 2 * workers
        context = multiprocessing.get_context("spawn")
        self._pool = ProcessPoolExecutor(workers, context, start_worker, (sampler,))

    def __len__(self) -> int:
        return self._steps

    def __getitem__(self, index: int) -> tuple[Images, tuple[Labels, Labels]]:
        """The next batch. Keras asks in order; ``index`` within the epoch is implied by the position."""
        while len(self._ahead) < self._depth:
            epoch, step = divmod(self._position + len(self._ahead), self._steps)
            self._ahead.append(self._pool.submit(draw_in_worker, epoch, step))
        self._position += 1
        images, labels = self._ahead.popleft().result()
        return images, (labels, labels.copy())  # backends that donate buffers want each only once

    def __enter__(self) -> Loader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)
