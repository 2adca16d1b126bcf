"""Every call into CUDA, and nothing else. A refused one raises EngineError with CUDA's own name for what went wrong."""

from __future__ import annotations

import ctypes
import importlib
from typing import Any

import numpy as np

from perception.engines.tensorrt.device import Bytes, Gpu, Handle
from perception.errors import EngineError, EngineUnavailable
from perception.types import Size

_BLOCK = (32, 8)  # threads that work side by side on an image


class Cuda:
    """The ``Device`` of this machine, through cuda-python.

    Raises:
        EngineUnavailable: cuda-python is not installed, or there is no GPU that CUDA can use.
    """

    def __init__(self) -> None:
        self._runtime = _runtime()
        code, count = self._runtime.cudaGetDeviceCount()
        if int(code) or not count:
            _, text = self._runtime.cudaGetErrorString(code)
            reason = _text(text) if int(code) else "CUDA finds none"
            raise EngineUnavailable(f"No NVIDIA GPU can be used here: {reason}. See what `nvidia-smi` says.")
        self._try("use the GPU", self._runtime.cudaSetDevice(0), EngineUnavailable)
        self.gpu = self._describe()
        self._copy = self._runtime.cudaMemcpyKind

    def pinned(self, size: int) -> Bytes:
        pointer = int(self._try("allocate pinned memory", self._runtime.cudaMallocHost(size)))
        return np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(pointer))

    def free_pinned(self, memory: Bytes) -> None:
        self._try("free pinned memory", self._runtime.cudaFreeHost(memory.ctypes.data))

    def allocate(self, size: int) -> int:
        return int(self._try(f"allocate {size / 2**20:.0f} MiB on the GPU", self._runtime.cudaMalloc(size)))

    def free(self, pointer: int) -> None:
        self._try("free memory of the GPU", self._runtime.cudaFree(pointer))

    def upload(self, pointer: int, memory: Bytes, stream: Handle) -> None:
        kind = self._copy.cudaMemcpyHostToDevice
        self._try("upload", self._runtime.cudaMemcpyAsync(pointer, memory.ctypes.data, memory.nbytes, kind, stream))

    def download(self, memory: Bytes, pointer: int, stream: Handle) -> None:
        kind = self._copy.cudaMemcpyDeviceToHost
        self._try("download", self._runtime.cudaMemcpyAsync(memory.ctypes.data, pointer, memory.nbytes, kind, stream))

    def stream(self) -> Handle:
        flags = self._runtime.cudaStreamNonBlocking
        return int(self._try("create a stream", self._runtime.cudaStreamCreateWithFlags(flags)))

    def event(self) -> Handle:
        flags = self._runtime.cudaEventBlockingSync  # who waits sleeps: the cores belong to the other stages
        return self._try("create an event", self._runtime.cudaEventCreateWithFlags(flags))

    def record(self, event: Handle, stream: Handle) -> None:
        self._try("record an event", self._runtime.cudaEventRecord(event, stream))

    def wait(self, event: Handle) -> None:
        self._try("run the network", self._runtime.cudaEventSynchronize(event))

    def elapsed_ms(self, start: Handle, end: Handle) -> float:
        return float(self._try("read a time", self._runtime.cudaEventElapsedTime(start, end)))

    def begin_capture(self, stream: Handle) -> None:
        mode = self._runtime.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        self._try("begin a graph", self._runtime.cudaStreamBeginCapture(stream, mode))

    def end_capture(self, stream: Handle) -> Handle:
        graph = self._try("end a graph", self._runtime.cudaStreamEndCapture(stream))
        executable = self._try("instantiate a graph", self._runtime.cudaGraphInstantiate(graph, 0))
        self._try("free a graph", self._runtime.cudaGraphDestroy(graph))
        return executable

    def launch_graph(self, graph: Handle, stream: Handle) -> None:
        self._try("start a graph", self._runtime.cudaGraphLaunch(graph, stream))

    def compile(self, source: str, name: str) -> Handle:
        from perception.engines.tensorrt.nvrtc import compile_to_cubin

        cubin = compile_to_cubin(source, self.gpu.target)
        driver = importlib.import_module("cuda.bindings.driver")
        module = self._driver_result("load a kernel", driver.cuModuleLoadData(cubin))
        return self._driver_result("find a kernel", driver.cuModuleGetFunction(module, name.encode()))

    def launch(
        self, kernel: Handle, size: Size, pointers: tuple[int, ...], numbers: tuple[int, ...], stream: Handle
    ) -> None:
        driver = importlib.import_module("cuda.bindings.driver")
        types = (ctypes.c_void_p,) * len(pointers) + (ctypes.c_int,) * len(numbers)
        grid = [-(-length // side) for length, side in zip(size, _BLOCK)]
        self._driver_result(
            "start a kernel",
            driver.cuLaunchKernel(kernel, *grid, 1, *_BLOCK, 1, 0, stream, ((*pointers, *numbers), types), 0),
        )

    def destroy(self, *, streams: tuple[Handle, ...], events: tuple[Handle, ...], graphs: tuple[Handle, ...]) -> None:
        for graph in graphs:
            self._runtime.cudaGraphExecDestroy(graph)
        for event in events:
            self._runtime.cudaEventDestroy(event)
        for stream in streams:
            self._runtime.cudaStreamDestroy(stream)

    def _describe(self) -> Gpu:
        runtime = self._runtime
        properties = self._try("ask the GPU what it is", runtime.cudaGetDeviceProperties(0), EngineUnavailable)
        version = int(self._try("ask the driver's version", runtime.cudaDriverGetVersion(), EngineUnavailable))
        name = bytes(properties.name).split(b"\0")[0].decode(errors="replace")
        target = f"sm{properties.major}{properties.minor}"
        return Gpu(name, target, f"{version // 1000}.{version % 1000 // 10}", int(properties.totalGlobalMem))

    def _try(self, doing: str, answer: tuple[Any, ...], error: type[Exception] = EngineError) -> Any:
        """The value of a runtime call's answer. Raises ``error`` for a failed one."""
        code, *values = answer
        if int(code):
            _, name = self._runtime.cudaGetErrorName(code)
            _, text = self._runtime.cudaGetErrorString(code)
            raise error(f"CUDA cannot {doing}: {_text(text)} ({_text(name)}).{_remedy(int(code))}")
        return values[0] if values else None

    def _driver_result(self, doing: str, answer: tuple[Any, ...]) -> Any:
        code, *values = answer
        if int(code):
            raise EngineError(f"CUDA cannot {doing}: {code.name}.{_remedy(int(code))}")
        return values[0] if values else None


def _runtime() -> Any:
    try:
        return importlib.import_module("cuda.bindings.runtime")
    except Exception as error:  # a missing package, or a library that it cannot load
        raise EngineUnavailable(
            f"CUDA cannot be used from Python ({error}). Install it with: pip install 'roadcast[tensorrt]'"
        ) from None


def _text(value: bytes | str) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def _remedy(code: int) -> str:
    if code == 2:  # cudaErrorMemoryAllocation
        return " Use a smaller --size, fewer --slots, or stop what else uses the GPU."
    return " See `dmesg` for what the driver says, and start the node again."


def find_gpu() -> Gpu:
    """The GPU of this machine. Raises EngineUnavailable."""
    return Cuda().gpu
