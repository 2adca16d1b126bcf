"""What the engine needs of a GPU: ``cuda`` fulfils it, and a test's device, which runs without one.

Pointers, streams, events and graphs are plain integers or opaque values of the device. Pinned memory appears as numpy
arrays. A call that the device refuses raises EngineError.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from perception.types import Size

Bytes = npt.NDArray[np.uint8]
Handle = Any  # a stream, event, graph or kernel


@dataclass(frozen=True, slots=True)
class Gpu:
    """The GPU that CUDA shows first."""

    name: str
    target: str  # "sm89"
    driver: str  # newest CUDA the driver knows, "13.0"
    memory_bytes: int

    def __str__(self) -> str:
        return f"{self.name} ({self.target}, {self.memory_bytes / 2**30:.0f} GiB)"


class Device(Protocol):
    """What the pipeline needs of a GPU. All of a stream's work happens in the order in which it was given."""

    def pinned(self, size: int) -> Bytes:
        """New page-locked host memory."""
        ...

    def free_pinned(self, memory: Bytes) -> None:
        """Free what ``pinned`` gave."""
        ...

    def allocate(self, size: int) -> int:
        """New device memory."""
        ...

    def free(self, pointer: int) -> None:
        """Free what ``allocate`` gave."""
        ...

    def upload(self, pointer: int, memory: Bytes, stream: Handle) -> None:
        """Copy pinned memory to the device, when the stream comes to it."""
        ...

    def download(self, memory: Bytes, pointer: int, stream: Handle) -> None:
        """Copy device memory to pinned memory, when the stream comes to it."""
        ...

    def stream(self) -> Handle:
        """A new stream."""
        ...

    def event(self) -> Handle:
        """A new event."""
        ...

    def record(self, event: Handle, stream: Handle) -> None:
        """Let the event happen when the stream comes to this place."""
        ...

    def wait(self, event: Handle) -> None:
        """Block until the event has happened, without the interpreter's lock."""
        ...

    def elapsed_ms(self, start: Handle, end: Handle) -> float:
        """Time on the device between two events that have happened."""
        ...

    def begin_capture(self, stream: Handle) -> None:
        """From now on, work given to the stream by this thread is noted instead of done."""
        ...

    def end_capture(self, stream: Handle) -> Handle:
        """End that, and make a graph of what was noted."""
        ...

    def launch_graph(self, graph: Handle, stream: Handle) -> None:
        """Do what a graph holds."""
        ...

    def compile(self, source: str, name: str) -> Handle:
        """A kernel from CUDA C++. Raises EngineUnavailable where the compiler NVRTC is not installed."""
        ...

    def launch(
        self, kernel: Handle, size: Size, pointers: tuple[int, ...], numbers: tuple[int, ...], stream: Handle
    ) -> None:
        """Run a kernel once for every (x, y) below ``size``, (w, h). It takes pointers, then 32-bit integers."""
        ...

    def destroy(self, *, streams: tuple[Handle, ...], events: tuple[Handle, ...], graphs: tuple[Handle, ...]) -> None:
        """Free handles; errors are ignored, for this happens after errors, too."""
        ...
