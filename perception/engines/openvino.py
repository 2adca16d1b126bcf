"""OpenVINO: the optional engine for x86 CPUs, in bf16 where the CPU computes in it."""

from __future__ import annotations

from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import numpy as np

from perception.engines.contract import INPUT, check_frames, check_outputs, read_spec
from perception.engines.engine import Batch, Outputs
from perception.engines.mode import Mode, Workers, workers_for
from perception.engines.pool import PooledBatch, RunPool
from perception.errors import EngineUnavailable, ModelError

if TYPE_CHECKING:
    import openvino as ov

NAME = "openvino"


class OpenVinoEngine:
    """Runs a graph-contract ONNX file with OpenVINO on the CPU.

    Args:
        mode, threads, slots: as for ``OnnxRuntimeEngine``.

    Raises:
        EngineUnavailable: openvino is not installed.
        ModelError: the file is missing or damaged, breaks the graph contract, or OpenVINO cannot compile it.
    """

    name = NAME

    def __init__(
        self, model: Path, *, mode: Mode = "throughput", threads: int | None = None, slots: int | None = None
    ) -> None:
        self.spec = read_spec(model)
        workers = workers_for(mode, threads)
        compiled, self.reason = _compile(model, workers)
        self._requests: SimpleQueue[ov.InferRequest] = SimpleQueue()  # one for each run at the same time
        for _ in range(workers.parallel):
            self._requests.put(compiled.create_infer_request())
        self.slots = slots or workers.parallel + 1
        self._pool = RunPool(self._run, engine=NAME, workers=workers.parallel, slots=self.slots)

    def submit(self, frames: Batch) -> PooledBatch:
        """Start one batch, or block while no slot is free. See ``Engine``."""
        check_frames(self.spec, frames)
        return self._pool.submit(frames)

    def close(self) -> None:
        """Cancel what has not begun, wait for what has."""
        self._pool.close()

    def _run(self, frames: Batch) -> Outputs:
        request = self._requests.get()
        try:
            request.infer({INPUT: np.ascontiguousarray(frames)}, share_inputs=True)
            outputs = {name: request.get_tensor(name).data.copy() for name in self.spec.outputs}
        finally:
            self._requests.put(request)
        check_outputs(self.spec, frames, outputs)
        return outputs


def _compile(model: Path, workers: Workers) -> tuple[ov.CompiledModel, str]:
    """The compiled model, and one sentence about how it runs."""
    try:
        import openvino as ov
    except ImportError as error:
        raise EngineUnavailable(
            f"The engine {NAME!r} needs openvino ({error}). Install it with: pip install 'roadcast[openvino]'"
        ) from error
    core = ov.Core()
    has_bf16 = "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    settings: dict[str, Any] = {
        "NUM_STREAMS": workers.parallel,
        "INFERENCE_NUM_THREADS": workers.parallel * workers.threads,
        "INFERENCE_PRECISION_HINT": "bf16" if has_bf16 else "f32",
        "ENABLE_CPU_PINNING": False,  # the other stages and processes share these cores
    }
    try:
        compiled = core.compile_model(core.read_model(model), "CPU", settings)
    except RuntimeError as error:
        raise ModelError(
            f"OpenVINO cannot compile the model {str(model)!r}: {str(error).strip().splitlines()[-1]} "
            "Try the engine onnxruntime."
        ) from error
    precision = "bf16, because this CPU computes in it" if has_bf16 else "fp32, because this CPU has no bf16"
    return compiled, f"OpenVINO {ov.__version__.partition('-')[0]} on the CPU in {precision}; {workers.describe()}."
