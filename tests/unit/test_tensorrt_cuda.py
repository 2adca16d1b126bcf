"""Every call into CUDA without a GPU: cuda-python takes what it is given, and its refusal is one sentence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from perception.engines.tensorrt.cuda import Cuda, _runtime, find_gpu
from perception.errors import EngineError, EngineUnavailable

MEMORY = np.zeros(64, np.uint8)
POINTER, STREAM = 1 << 40, 1 << 41


@pytest.fixture
def device() -> Cuda:
    """Without its beginning, which asks for a GPU."""
    runtime = pytest.importorskip("cuda.bindings.runtime", reason="the optional library cuda-python is not installed")
    code, _ = runtime.cudaGetDeviceCount()
    if not int(code):
        pytest.skip("there is a GPU here, which must not be given made-up pointers")
    found = Cuda.__new__(Cuda)
    found._runtime = _runtime()
    found._copy = found._runtime.cudaMemcpyKind
    return found


@pytest.mark.usefixtures("device")
def test_no_gpu_is_one_sentence():
    with pytest.raises(EngineUnavailable, match="No NVIDIA GPU can be used here: CUDA driver version is insufficient"):
        find_gpu()


CALLS: dict[str, Callable[[Cuda, Any], Any]] = {
    "pinned": lambda device, _: device.pinned(64),
    "free_pinned": lambda device, _: device.free_pinned(MEMORY),
    "allocate": lambda device, _: device.allocate(64),
    "free": lambda device, _: device.free(POINTER),
    "upload": lambda device, _: device.upload(POINTER, MEMORY, STREAM),
    "download": lambda device, _: device.download(MEMORY, POINTER, STREAM),
    "stream": lambda device, _: device.stream(),
    "event": lambda device, _: device.event(),
    "record": lambda device, event: device.record(event, STREAM),
    "wait": lambda device, event: device.wait(event),
    "elapsed_ms": lambda device, event: device.elapsed_ms(event, event),
    "begin_capture": lambda device, _: device.begin_capture(STREAM),
    "end_capture": lambda device, _: device.end_capture(STREAM),
    "launch_graph": lambda device, _: device.launch_graph(device._runtime.cudaGraphExec_t(), STREAM),
}


@pytest.mark.parametrize("name", CALLS)
def test_cuda_refuses_in_one_sentence(device, name):
    with pytest.raises(EngineError, match=r"^CUDA cannot .*: .* \(cudaError\w+\)\. ") as caught:
        CALLS[name](device, device._runtime.cudaEvent_t())
    assert "\n" not in str(caught.value)


def test_little_memory_says_what_helps(device):
    code = device._runtime.cudaError_t.cudaErrorMemoryAllocation
    with pytest.raises(EngineError, match=r"cannot allocate: out of memory .*Use a smaller --size"):
        device._try("allocate", (code, None))


def test_handles_are_freed_whatever_cuda_says(device):
    event = device._runtime.cudaEvent_t()
    device.destroy(streams=(STREAM,), events=(event,), graphs=())
