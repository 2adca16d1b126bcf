"""Stages are functions over iterators of scenes; threads between them start in exactly one function, ``start``.

    frames ──> threaded ──> stage ──> threaded ──> stage ──> threaded ──> the main thread
                  └────────────── one Stop, one deadline ───────────┘

Every link runs what lies upstream of it in a thread of its own and holds a bounded queue. A full queue
blocks its producer, so back-pressure reaches the source; a live link lets the oldest item lose instead.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from queue import Empty, Full, Queue
from typing import TypeVar

from perception.types import Scene

T = TypeVar("T")
Stage = Callable[[Iterable[Scene]], Iterator[Scene]]

GRACE_S = 2.0  # what all threads together get to end in
WAKE_S = 0.1  # a blocked thread looks this often whether it should end; a consumer does its idle work then


class Stopped(Exception):
    """The pipeline was told to stop before this was done: not a failure, somebody asked for the end."""


class Stop:
    """The end of one pipeline, shared by all its links: the first to set it starts the one deadline.

    ``set`` only assigns an attribute, so a signal handler may call it.
    """

    def __init__(self, grace_s: float = GRACE_S) -> None:
        self._grace_s = grace_s
        self._deadline: float | None = None
        self._threads: list[threading.Thread] = []
        self._starting = threading.Lock()

    def set(self) -> None:
        """Ask every thread of the pipeline to end."""
        if self._deadline is None:
            self._deadline = time.monotonic() + self._grace_s

    def is_set(self) -> bool:
        """Whether the end was asked for."""
        return self._deadline is not None

    def remaining(self) -> float:
        """Seconds until the deadline, never below 0; the whole grace while nobody asked for the end."""
        return self._grace_s if self._deadline is None else max(0.0, self._deadline - time.monotonic())

    def start(self, thread: threading.Thread) -> None:
        """Start a thread that belongs to this pipeline."""
        with self._starting:
            # Over months many threads may load and close models; who has ended need not be remembered.
            self._threads = [*(other for other in self._threads if other.is_alive()), thread]
            thread.start()

    def owns(self, thread: threading.Thread) -> bool:
        """Whether this thread is one of the pipeline's own."""
        return thread in self._threads

    def join(self) -> list[str]:
        """Wait until all threads ended or the deadline has passed; the names of those still running."""
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(self.remaining())
        return [thread.name for thread in self._threads if thread.is_alive()]


def start(
    items: Iterable[T],
    put: Callable[[T], bool],
    finish: Callable[[BaseException | None], object],
    *,
    stop: Stop,
    name: str,
) -> threading.Thread:
    """Run everything upstream in a thread of its own: the only place where a pipeline starts one.

    Each item goes to ``put`` until that returns False; then ``items`` is closed in that thread, and ``finish``
    gets the error that ended it, if one did.
    """

    def work() -> None:
        error: BaseException | None = None
        try:
            try:
                for item in items:
                    if not put(item):
                        break
            finally:
                _close(items)
        except BaseException as caught:  # raised again in the consumer
            error = caught
        finish(error)

    thread = threading.Thread(target=work, name=name, daemon=True)
    stop.start(thread)
    return thread


class _End:
    """Closes a queue, with the error that ended the producer, if one did."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


def each(function: Callable[[Scene], Scene]) -> Stage:
    """The stage that applies one function to every scene."""

    def stage(scenes: Iterable[Scene]) -> Iterator[Scene]:
        for scene in scenes:
            yield function(scene)

    return stage


def threaded(
    items: Iterable[T],
    *,
    stop: Stop | None = None,
    name: str = "stage",
    size: int = 1,
    keep_latest: bool = False,
    on_drop: Callable[[T], None] | None = None,
    idle: Callable[[], None] | None = None,
) -> Generator[T, None, None]:
    """Run everything upstream in a thread of its own, at most ``size`` items ahead of the consumer.

    The thread starts at the first ``next``. An error upstream is raised here, after the items that came
    before it. Closing this iterator closes ``items`` in its thread; where the consumer is not itself a
    thread of the pipeline, it stops the whole pipeline and waits for it until the deadline of ``stop``.

    Args:
        stop: shared by all links of one pipeline; a lone link has its own. Once set, iteration ends.
        name: of the thread, as debuggers and profilers show it.
        keep_latest: a full queue loses its oldest item to a new one instead of blocking the producer.
        on_drop: called in the producer's thread with every item so lost, to count and release it.
        idle: called in the consumer's thread every 100 ms that it waits.
    """
    end = stop or Stop()
    queue: Queue[T | _End] = Queue(maxsize=size)
    closed = threading.Event()

    def put(item: T | _End) -> bool:
        """Whether the item went into the queue: not when the consumer is gone."""
        evict = keep_latest and not isinstance(item, _End)
        while not (closed.is_set() or end.is_set()):
            try:
                queue.put(item, block=not evict, timeout=WAKE_S)
            except Full:
                if evict:
                    _drop_oldest(queue, on_drop)
            else:
                return True
        return False

    def take() -> T | _End:
        while not end.is_set():
            try:
                return queue.get(timeout=WAKE_S)
            except Empty:
                if idle is not None:
                    idle()
        return _End(None)

    thread = start(items, put, lambda error: put(_End(error)), stop=end, name=name)
    finished = False
    try:
        while not isinstance(item := take(), _End):
            yield item
        if item.error is not None:
            raise item.error
        finished = True
    finally:
        closed.set()
        if not end.owns(threading.current_thread()):
            if not finished:
                end.set()
            if end.is_set():
                end.join()
            else:
                thread.join(end.remaining())


def in_thread(call: Callable[[], T], *, stop: Stop, name: str, idle: Callable[[], None] | None = None) -> T:
    """What ``call`` returns, computed in a thread, so that the caller can be interrupted and idles meanwhile.

    Raises:
        Stopped: ``stop`` was set first. The call may still be running; its thread does not hold up the process.
    """
    results = list(threaded((make() for make in (call,)), stop=stop, name=name, idle=idle))
    if not results:
        raise Stopped(f"stopped during: {name}")
    return results[0]


def _drop_oldest(queue: Queue[T | _End], on_drop: Callable[[T], None] | None) -> None:
    """Take the oldest item out of a full queue, unless the consumer was quicker."""
    try:
        oldest = queue.get_nowait()
    except Empty:
        return
    if on_drop is not None and not isinstance(oldest, _End):
        on_drop(oldest)


def _close(items: Iterable[object]) -> None:
    """Close what can be closed: a generator, in the thread that runs it."""
    close = getattr(items, "close", None)
    if close is not None:
        close()
