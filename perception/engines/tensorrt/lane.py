"""One slot of the GPU pipeline: a stream, and for every shape seen a context, pinned and device buffers and a graph.

    pinned in ──upload──> device [──resize──> network size] ──network──> device ──download──> pinned out

All of it is recorded once as a CUDA graph and then started by a single call a batch. Lanes share nothing but the
engine, so one uploads while another computes. In steady state nothing is allocated on the GPU or pinned.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from contextlib import suppress
from typing import Any

import numpy as np
import numpy.typing as npt

from perception.engines.contract import INPUT
from perception.engines.engine import Batch
from perception.engines.tensorrt.device import Bytes, Device, Handle
from perception.engines.tensorrt.network import Network, Shape
from perception.engines.tensorrt.resize import SOURCE, plan_resize
from perception.errors import EngineError
from perception.types import Size

KEPT_SHAPES = 4  # as many cameras of different size
Kernels = dict[str, Handle]  # by name; empty where frames are resized before they come


class Lane:
    """Runs one batch at a time; the owner starts no second one before it has finished or abandoned the first.

    Args:
        names: the outputs to download.
        kernels: of ``compile_kernels``.
    """

    def __init__(self, network: Network, device: Device, names: tuple[str, ...], kernels: Kernels) -> None:
        self._network = network
        self._device = device
        self._names = names
        self._kernels = kernels
        self._stream = device.stream()
        self._started, self._ended = device.event(), device.event()
        self._routes: OrderedDict[tuple[Shape, Size], _Route] = OrderedDict()
        self._current: _Route | None = None
        self._lock = threading.Lock()
        self._is_closed = False

    def start(self, frames: Batch, size: Size) -> None:
        """Copy the frames (N, H, W, 3) and start all that follows, to network size (w, h) first. Raises EngineError."""
        with self._lock:
            if self._is_closed:
                raise EngineError("The engine was closed.")
            if self._current is not None:  # abandoned: the GPU may still read and write its buffers
                self._device.wait(self._ended)
                self._current = None
            route = self._route(frames.shape, size)
            np.copyto(route.frames, frames)
            self._device.record(self._started, self._stream)
            route.run(self._stream)
            self._device.record(self._ended, self._stream)
            self._current = route

    def finish(self) -> tuple[dict[str, npt.NDArray[Any]], float]:
        """Wait; new arrays of the outputs, and the milliseconds from upload to download. Raises EngineError."""
        with self._lock:
            if self._is_closed or self._current is None:
                raise EngineError("The batch is gone: its engine was closed.")
            self._device.wait(self._ended)
            route, self._current = self._current, None
            outputs = {name: array.copy() for name, array in route.outputs.items()}
            return outputs, self._device.elapsed_ms(self._started, self._ended)

    def close(self) -> None:
        """Wait for what runs and free everything. Errors of a broken device are passed over."""
        with self._lock:
            if self._is_closed:
                return
            self._is_closed = True
            with suppress(EngineError):
                if self._current is not None:
                    self._device.wait(self._ended)
            self._current = None
            for route in self._routes.values():
                route.free()
            self._routes.clear()
            self._device.destroy(streams=(self._stream,), events=(self._started, self._ended), graphs=())

    def _route(self, shape: Shape, size: Size) -> _Route:
        key = (shape, size)
        if key not in self._routes:
            while len(self._routes) >= KEPT_SHAPES:
                self._routes.popitem(last=False)[1].free()
            route = _Route(self._network, self._device, self._names, self._kernels)
            try:
                route.prepare(shape, size, self._stream)
            except BaseException:
                with suppress(EngineError):
                    _sync(self._device, self._stream)  # what was given to the stream still uses the buffers
                route.free()
                raise
            self._routes[key] = route
        self._routes.move_to_end(key)
        return self._routes[key]


def compile_kernels(device: Device) -> Kernels:
    """The kernels of ``resize``. Raises EngineUnavailable without NVRTC."""
    return {name: device.compile(SOURCE, name) for name in ("resize_area", "resize_whole", "resize_linear")}


class _Route:
    """The way of a batch of one shape through the GPU."""

    frames: npt.NDArray[np.uint8]  # pinned; filled before ``run``
    outputs: dict[str, npt.NDArray[Any]]  # pinned; filled after it

    def __init__(self, network: Network, device: Device, names: tuple[str, ...], kernels: Kernels) -> None:
        self._network = network
        self._device = device
        self._names = names
        self._kernels = kernels
        self._pinned: list[Bytes] = []
        self._pointers: list[int] = []
        self._downloads: list[tuple[Bytes, int]] = []
        self._graph: Handle = None

    def prepare(self, shape: Shape, size: Size, stream: Handle) -> None:
        """Allocate everything, run once, and record the graph."""
        count, height, width, _ = shape
        self._context = self._network.context((count, size[1], size[0], 3))
        self._in = self._new_pinned(count * height * width * 3)
        self.frames = self._in.reshape(shape)
        self.frames[:] = 0
        self._source = self._new_pointer(self._in.nbytes)
        self._resize: tuple[Handle, Size, tuple[int, ...], tuple[int, ...]] | None = None
        target = self._source
        if (width, height) != size:
            target = self._new_pointer(count * size[0] * size[1] * 3)
            self._resize = self._plan_resize((width, height), size, count, target, stream)
        self._context.bind(INPUT, target)
        self.outputs = {}
        for name, (output_shape, dtype) in self._context.outputs.items():
            length = int(np.prod(output_shape)) * dtype.itemsize
            pointer = self._new_pointer(length)
            self._context.bind(name, pointer)  # TensorRT writes every output, wanted or not
            if name in self._names:
                memory = self._new_pinned(length)
                self._downloads.append((memory, pointer))
                self.outputs[name] = memory.view(dtype).reshape(output_shape)
        self._issue(stream)  # TensorRT finishes setting up in its first run, which must not be recorded
        _sync(self._device, stream)
        self._record(stream)

    def run(self, stream: Handle) -> None:
        """Start everything. Raises EngineError."""
        if self._graph is None:
            self._issue(stream)
        else:
            self._device.launch_graph(self._graph, stream)

    def free(self) -> None:
        """Free what was allocated, as far as the device lets it."""
        self._device.destroy(streams=(), events=(), graphs=() if self._graph is None else (self._graph,))
        self._graph = self._context = None  # type: ignore[assignment]
        for pointer in self._pointers:
            with suppress(EngineError):
                self._device.free(pointer)
        self._pointers.clear()
        self.frames = self._in = np.zeros((0, 0, 0, 3), np.uint8)
        self.outputs = {}
        self._downloads.clear()
        for memory in self._pinned:
            with suppress(EngineError):
                self._device.free_pinned(memory)
        self._pinned.clear()

    def _issue(self, stream: Handle) -> None:
        self._device.upload(self._source, self._in, stream)
        if self._resize is not None:
            kernel, size, pointers, numbers = self._resize
            self._device.launch(kernel, size, pointers, numbers, stream)
        self._context.enqueue(stream)
        for memory, pointer in self._downloads:
            self._device.download(memory, pointer, stream)

    def _record(self, stream: Handle) -> None:
        """Make a graph, unless this network cannot be recorded: then every run issues its calls one by one."""
        try:
            self._device.begin_capture(stream)
            self._issue(stream)
            self._graph = self._device.end_capture(stream)
        except EngineError:  # a device that is broken says so again at the next call
            with suppress(EngineError):
                self._device.end_capture(stream)

    def _plan_resize(
        self, source: Size, size: Size, count: int, target: int, stream: Handle
    ) -> tuple[Handle, Size, tuple[int, ...], tuple[int, ...]]:
        plan = plan_resize(source, size)
        pointers = [self._source, target]
        for table in plan.tables:
            memory = self._new_pinned(table.nbytes)
            memory[:] = table.view(np.uint8)
            pointers.append(self._new_pointer(table.nbytes))
            self._device.upload(pointers[-1], memory, stream)
        rows = count * size[1]
        return self._kernels[plan.kernel], (size[0], rows), tuple(pointers), (*source, *size, rows)

    def _new_pinned(self, length: int) -> Bytes:
        self._pinned.append(self._device.pinned(length))
        return self._pinned[-1]

    def _new_pointer(self, length: int) -> int:
        self._pointers.append(self._device.allocate(length))
        return self._pointers[-1]


def _sync(device: Device, stream: Handle) -> None:
    """Wait until the stream has done what it was given so far."""
    done = device.event()
    try:
        device.record(done, stream)
        device.wait(done)
    finally:
        device.destroy(streams=(), events=(done,), graphs=())
