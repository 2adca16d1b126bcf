"""ONNX Runtime: the default engine, on the CPU or on an NVIDIA GPU where its CUDA provider loads."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from perception.engines.answers import check_outputs
from perception.engines.contract import INPUT, check_frames, read_spec
from perception.engines.engine import Batch, Outputs
from perception.engines.mode import Device, Mode, Workers, workers_for
from perception.engines.pool import PooledBatch, RunPool
from perception.errors import EngineUnavailable, ModelError

if TYPE_CHECKING:
    import onnxruntime as ort

NAME = "onnxruntime"
CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"


class OnnxRuntimeEngine:
    """Runs a graph-contract ONNX file with ONNX Runtime.

    Args:
        mode: ``throughput`` runs one batch per core at the same time, each on one thread; ``latency`` runs
            one batch at a time on all cores.
        threads: cores to use; None for all that this process may use.
        slots: batches between submit and result; None for one more than run at the same time.
        device: ``cuda`` insists on the GPU, ``auto`` takes it where it works and says so where it does not:
            then ``fell_back`` is true.

    Raises:
        EngineUnavailable: onnxruntime is not installed, or ``device`` is ``cuda`` and CUDA does not load.
        ModelError: the file is missing or damaged, or breaks the graph contract.
    """

    name = NAME

    def __init__(
        self,
        model: Path,
        *,
        mode: Mode = "throughput",
        threads: int | None = None,
        slots: int | None = None,
        device: Device = "auto",
    ) -> None:
        self.spec = read_spec(model)
        workers = workers_for(mode, threads)
        self._session, self.reason = _open(model, workers, device)
        self.on_gpu = self._session.get_providers()[0] == CUDA
        self.fell_back = device == "auto" and offers_cuda() and not self.on_gpu
        self.slots = slots or workers.parallel + 1
        run = self._run_on_gpu if self.on_gpu else self._run
        self._pool = RunPool(run, engine=NAME, workers=workers.parallel, slots=self.slots)

    def submit(self, frames: Batch) -> PooledBatch:
        """Start one batch, or block while no slot is free. See ``Engine``."""
        check_frames(self.spec, frames)
        return self._pool.submit(frames)

    def close(self) -> None:
        """Cancel what has not begun, wait for what has."""
        self._pool.close()

    def _run(self, frames: Batch) -> Outputs:
        arrays = self._session.run(list(self.spec.outputs), {INPUT: np.ascontiguousarray(frames)})
        return self._checked(frames, arrays)

    def _run_on_gpu(self, frames: Batch) -> Outputs:
        contiguous = np.ascontiguousarray(frames)  # the binding may point into it: it has to outlive the run
        binding = self._session.io_binding()
        binding.bind_cpu_input(INPUT, contiguous)
        for name in self.spec.outputs:
            binding.bind_output(name, "cpu")
        self._session.run_with_iobinding(binding)
        return self._checked(frames, binding.copy_outputs_to_cpu())

    def _checked(self, frames: Batch, arrays: list[Any]) -> Outputs:
        outputs = dict(zip(self.spec.outputs, arrays))
        check_outputs(self.spec, frames.shape, outputs)
        return outputs


def _open(model: Path, workers: Workers, device: Device) -> tuple[ort.InferenceSession, str]:
    """A session, and one sentence about where it runs."""
    ort = _library()
    offered = offers_cuda()
    if device == "cuda" and not offered:
        raise EngineUnavailable(
            "This ONNX Runtime has no CUDA provider. Install it with: pip uninstall onnxruntime && "
            "pip install onnxruntime-gpu; or choose another device."
        )
    note = ""
    if offered and device != "cpu":
        session = _session(ort, model, workers, [CUDA, CPU])
        if session.get_providers()[0] == CUDA:
            return session, f"ONNX Runtime {ort.__version__} on the GPU, because its CUDA provider loads."
        if device == "cuda":
            raise EngineUnavailable(
                "The CUDA provider of ONNX Runtime does not load here: the driver, CUDA or cuDNN is missing or "
                "does not fit. Install the versions that onnxruntime-gpu names, or choose another device."
            )
        note = " (it has a CUDA provider, but that does not load here)"
    session = _session(ort, model, workers, [CPU])
    return session, f"ONNX Runtime {ort.__version__} on the CPU, {workers.describe()}{note}."


def offers_cuda() -> bool:
    """Whether this ONNX Runtime was built for NVIDIA GPUs; that it also loads shows only with a session."""
    return CUDA in _library().get_available_providers()


def _library() -> Any:
    """The onnxruntime module. Raises EngineUnavailable."""
    try:
        import onnxruntime as ort
    except ImportError as error:
        raise EngineUnavailable(
            f"The engine {NAME!r} needs onnxruntime ({error}). Install it with: pip install 'roadcast[node]'"
        ) from error
    ort.set_default_logger_severity(3)  # errors reach us as exceptions; warnings about the graph help nobody here
    return ort


def _session(ort: Any, model: Path, workers: Workers, providers: list[str]) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = workers.threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # else it takes the other stages' cores
    try:
        return ort.InferenceSession(str(model), options, providers=providers)
    except Exception as error:  # the runtime's own errors have no common base
        raise ModelError(
            f"ONNX Runtime cannot load the model {str(model)!r}: {str(error).strip().splitlines()[0]} "
            "Export it again, or try another engine."
        ) from error
