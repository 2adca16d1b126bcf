"""OpenVINO: the optional engine for x86 CPUs, in bf16 where the CPU computes in it."""

from __future__ import annotations

import threading
from collections import OrderedDict
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import numpy as np

from perception.engines.answers import check_outputs
from perception.engines.contract import INPUT, check_frames, read_spec
from perception.engines.engine import Batch, Outputs
from perception.engines.mode import Mode, Workers, workers_for
from perception.engines.pool import PooledBatch, RunPool
from perception.errors import EngineUnavailable, ModelError
from perception.types import Size

if TYPE_CHECKING:
    import openvino as ov

NAME = "openvino"
COMMON_SIZE: Size = (1280, 720)  # of the camera for whose frames a dynamic model is compiled at opening
KEPT_SHAPES = 4  # compiled models in memory: as many cameras of different size


class OpenVinoEngine:
    """Runs a graph-contract ONNX file with OpenVINO on the CPU.

    Args:
        mode, threads, slots: as for ``OnnxRuntimeEngine``.

    Raises:
        EngineUnavailable: openvino is not installed.
        ModelError: the file is missing or damaged, breaks the graph contract, or OpenVINO cannot compile it.
    """

    name = NAME
    fell_back = False

    def __init__(
        self, model: Path, *, mode: Mode = "throughput", threads: int | None = None, slots: int | None = None
    ) -> None:
        self.spec = read_spec(model)
        workers = workers_for(mode, threads)
        self._compiler = _Compiler(model, self.spec.fixed_size is None, workers)
        self.reason = self._compiler.describe()
        # Now rather than at the first frame: a graph that OpenVINO cannot compile is refused at opening. And in
        # one thread: its Python binding sets up numpy types at the first inference, and two threads that come to
        # that together wait for each other for ever, one holding the interpreter's lock (2026.4.1).
        width, height = self.spec.network_size(COMMON_SIZE)
        self._infer(np.zeros((self.spec.batch or 1, height, width, 3), np.uint8))
        self.slots = slots or workers.parallel + 1
        self._pool = RunPool(self._run, engine=NAME, workers=workers.parallel, slots=self.slots)

    def submit(self, frames: Batch) -> PooledBatch:
        """Start one batch, or block while no slot is free. See ``Engine``."""
        check_frames(self.spec, frames)
        return self._pool.submit(frames)

    def close(self) -> None:
        """Cancel what has not begun, wait for what has."""
        self._pool.close()

    def _requests(self, count: int, height: int, width: int) -> SimpleQueue[ov.InferRequest]:
        return self._compiler.requests((count, height, width, 3))

    def _run(self, frames: Batch) -> Outputs:
        outputs = self._infer(frames)
        check_outputs(self.spec, frames.shape, outputs)
        return outputs

    def _infer(self, frames: Batch) -> Outputs:
        count, height, width, _ = frames.shape
        requests = self._requests(count, height, width)
        request = requests.get()
        try:
            request.infer({INPUT: np.ascontiguousarray(frames)}, share_inputs=True)
            return {name: request.get_tensor(name).data.copy() for name in self.spec.outputs}
        finally:
            requests.put(request)


def computes_in_bf16() -> bool:
    """Whether this CPU has instructions for bf16. Raises EngineUnavailable without OpenVINO."""
    return "BF16" in _library().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def _library() -> Any:
    """The openvino module. Raises EngineUnavailable."""
    try:
        import openvino as ov
    except ImportError as error:
        raise EngineUnavailable(
            f"The engine {NAME!r} needs openvino ({error}). Install it with: pip install 'roadcast[openvino]'"
        ) from error
    return ov


class _Compiler:
    """Compiles the model for each input shape when it first comes: a fifth faster than one free shape for all."""

    def __init__(self, model: Path, is_dynamic: bool, workers: Workers) -> None:
        library = _library()
        self._version = library.__version__.partition("-")[0]
        self._core = library.Core()
        self._has_bf16 = computes_in_bf16()
        self._model = model
        self._is_dynamic = is_dynamic
        self._workers = workers
        self._compiled: OrderedDict[tuple[int, ...], SimpleQueue[ov.InferRequest]] = OrderedDict()
        self._lock = threading.Lock()

    def describe(self) -> str:
        """One sentence about how it runs."""
        precision = "bf16, because this CPU computes in it" if self._has_bf16 else "fp32, as this CPU has no bf16"
        return f"OpenVINO {self._version} on the CPU in {precision}; {self._workers.describe()}."

    def requests(self, shape: tuple[int, ...]) -> SimpleQueue[ov.InferRequest]:
        """The requests for one input shape, one for each run at the same time. Raises ModelError."""
        with self._lock:
            if shape not in self._compiled:
                self._compiled[shape] = self._compile(shape)
                if len(self._compiled) > KEPT_SHAPES:
                    self._compiled.popitem(last=False)
            self._compiled.move_to_end(shape)
            return self._compiled[shape]

    def _compile(self, shape: tuple[int, ...]) -> SimpleQueue[ov.InferRequest]:
        settings: dict[str, Any] = {
            "NUM_STREAMS": self._workers.parallel,
            "INFERENCE_NUM_THREADS": self._workers.parallel * self._workers.threads,
            "INFERENCE_PRECISION_HINT": "bf16" if self._has_bf16 else "f32",
            "ENABLE_CPU_PINNING": False,  # the other stages and processes share these cores
        }
        try:
            network = self._core.read_model(self._model)
            if self._is_dynamic:
                network.reshape({INPUT: list(shape)})
            compiled = self._core.compile_model(network, "CPU", settings)
        except RuntimeError as error:
            raise ModelError(
                f"OpenVINO cannot compile the model {str(self._model)!r}: {str(error).strip().splitlines()[-1]} "
                "Try the engine onnxruntime."
            ) from error
        requests: SimpleQueue[ov.InferRequest] = SimpleQueue()
        for _ in range(self._workers.parallel):
            requests.put(compiled.create_infer_request())
        return requests
