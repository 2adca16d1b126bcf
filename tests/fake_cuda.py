"""A GPU that is none: it does nothing until somebody waits, as late as CUDA would allow, and knows what is allocated.

What was given to a stream runs in order when an event of that stream is waited for. So a buffer that is filled or read
too early, or freed too soon, shows as a wrong answer or a KeyError.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from perception.engines.contract import INPUT
from perception.errors import EngineError, EngineUnavailable
from perception.stages.prepare import prepare

Work = Callable[[], None]


class FakeCuda:
    """A ``Device``. ``fail`` names a method that raises from now on; ``calls`` counts them all."""

    def __init__(self, *, has_compiler: bool = True, records_graphs: bool = True) -> None:
        self.memory: dict[int, np.ndarray] = {}
        self.pinned_memory: dict[int, np.ndarray] = {}
        self.queues: dict[int, list[tuple[Work, int | None]]] = {}  # what is to be done, and the event that it is
        self.happened: dict[int, int] = {}  # event: how much work had been done then
        self.graphs: dict[int, list[tuple[Work, int | None]]] = {}
        self.calls: dict[str, int] = {}
        self.fail: str | None = None
        self.done = 0
        self._has_compiler = has_compiler
        self._records_graphs = records_graphs
        self._capturing: dict[int, list[tuple[Work, int | None]]] = {}
        self._next = 1 << 40

    def pinned(self, size: int) -> np.ndarray:
        self._called("pinned", None)
        memory = np.full(size, 77, np.uint8)
        self.pinned_memory[memory.ctypes.data] = memory
        return memory

    def free_pinned(self, memory: np.ndarray) -> None:
        del self.pinned_memory[memory.ctypes.data]
        memory[:] = 66

    def allocate(self, size: int) -> int:
        self._called("allocate", None)
        self._next += 1 << 20
        self.memory[self._next] = np.full(size, 88, np.uint8)
        return self._next

    def free(self, pointer: int) -> None:
        del self.memory[pointer]

    def upload(self, pointer: int, memory: np.ndarray, stream: int) -> None:
        def work() -> None:
            np.copyto(self.memory[pointer], memory)

        self._give("upload", stream, work)

    def download(self, memory: np.ndarray, pointer: int, stream: int) -> None:
        def work() -> None:
            np.copyto(memory, self.memory[pointer])

        self._give("download", stream, work)

    def stream(self) -> int:
        self._next += 1
        self.queues[self._next] = []
        return self._next

    def event(self) -> int:
        self._next += 1
        self.happened[self._next] = -1
        return self._next

    def record(self, event: int, stream: int) -> None:
        self.happened[event] = -1

        def work() -> None:
            self.happened[event] = self.done

        self._give("record", stream, work, event)

    def wait(self, event: int) -> None:
        self._called("wait", None)
        for queue in self.queues.values():
            while any(of == event for _, of in queue):
                queue.pop(0)[0]()
                self.done += 1
        assert self.happened[event] >= 0, "waiting for an event that was never recorded"

    def elapsed_ms(self, start: int, end: int) -> float:
        assert 0 <= self.happened[start] < self.happened[end]
        return float(self.happened[end] - self.happened[start])

    def begin_capture(self, stream: int) -> None:
        self._called("begin_capture", None)
        self._capturing[stream] = []

    def end_capture(self, stream: int) -> int:
        noted = self._capturing.pop(stream, None)
        if noted is None or not self._records_graphs:
            raise EngineError("CUDA cannot end a graph: operation not permitted when stream is capturing.")
        self._next += 1
        self.graphs[self._next] = noted
        return self._called("end_capture", self._next)

    def launch_graph(self, graph: int, stream: int) -> None:
        self._called("launch_graph", None)
        self.queues[stream].extend(self.graphs[graph])

    def compile(self, source: str, name: str) -> str:
        if not self._has_compiler:
            raise EngineUnavailable("The CUDA compiler NVRTC does not load.")
        assert f"__global__ void {name}(" in source
        return name

    def launch(self, kernel: str, size: Any, pointers: tuple[int, ...], numbers: tuple[int, ...], stream: int) -> None:
        """What the kernels of ``resize`` do; that they do it is tested where they are."""
        source_width, source_height, width, height, rows = numbers
        assert kernel.startswith("resize_")
        assert size == (width, rows)

        def work() -> None:
            frames = self.memory[pointers[0]].reshape(-1, source_height, source_width, 3)
            resized = np.stack([prepare(frame, (width, height)) for frame in frames])
            np.copyto(self.memory[pointers[1]], resized.ravel())

        self._give("launch", stream, work)

    def destroy(self, *, streams: tuple[int, ...], events: tuple[int, ...], graphs: tuple[int, ...]) -> None:
        for graph in graphs:
            del self.graphs[graph]
        for event in events:
            del self.happened[event]
        for stream in streams:
            del self.queues[stream]

    def holds_nothing(self) -> bool:
        return not (self.memory or self.pinned_memory or self.queues or self.happened or self.graphs)

    def _give(self, name: str, stream: int, work: Work, event: int | None = None) -> None:
        self._called(name, None)
        self._capturing.get(stream, self.queues[stream]).append((work, event))

    def _called(self, name: str, value: Any) -> Any:
        self.calls[name] = self.calls.get(name, 0) + 1
        if self.fail == name:
            raise EngineError(
                f"CUDA cannot {name}: an illegal memory access was encountered (cudaErrorIllegalAddress)."
            )
        return value


class FakeNetwork:
    """A ``Network`` whose labels are every second pixel's blue modulo 19, and whose confidence is its green."""

    def __init__(self, device: FakeCuda) -> None:
        self.device = device
        self.is_closed = False

    def context(self, shape: tuple[int, ...]) -> FakeContext:
        return FakeContext(self.device, shape)

    def close(self) -> None:
        self.is_closed = True


class FakeContext:
    def __init__(self, device: FakeCuda, shape: tuple[int, ...]) -> None:
        count, height, width, _ = shape
        half = (count, height // 2, width // 2)
        self.outputs = {"labels": (half, np.dtype(np.uint8)), "confidence": (half, np.dtype(np.uint8))}
        self._device = device
        self._shape = shape
        self._at: dict[str, int] = {}

    def bind(self, name: str, pointer: int) -> None:
        self._at[name] = pointer

    def enqueue(self, stream: int) -> None:
        def work() -> None:
            memory = self._device.memory
            labels, confidence = expected(memory[self._at[INPUT]].reshape(self._shape))
            np.copyto(memory[self._at["labels"]], labels.ravel())
            np.copyto(memory[self._at["confidence"]], confidence.ravel())

        self._device._give("enqueue", stream, work)


def expected(frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(labels, confidence) of frames at network size."""
    seen = frames[:, ::2, ::2]
    return seen[..., 0] % 19, seen[..., 1]
