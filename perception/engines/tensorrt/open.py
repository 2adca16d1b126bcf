"""Opens a compiled engine for a node: finds it, checks its passport, and only then lets TensorRT see it."""

from __future__ import annotations

from pathlib import Path

from perception.engines.contract import read_spec
from perception.engines.tensorrt.cache import SUFFIX, Entry, entries
from perception.engines.tensorrt.cuda import Cuda
from perception.engines.tensorrt.engine import TensorRtEngine
from perception.engines.tensorrt.library import load_library
from perception.engines.tensorrt.network import load_network
from perception.engines.tensorrt.passport import check_fits, check_verified, load_checked, read_passport
from perception.errors import EngineUnavailable, ModelError


def open_tensorrt(model: Path, *, slots: int | None = None) -> TensorRtEngine:
    """The compiled engine of a model: an ``.engine`` file, or the newest in the cache of an ONNX file.

    Raises:
        EngineUnavailable: TensorRT or a GPU is missing, or no engine was compiled for the model.
        ModelError: there is no such file, or the ONNX file breaks the graph contract.
        EngineError: the engine is damaged, does not fit this machine, or failed its verification.
    """
    return open_engine_file(find_engine(model), slots=slots or 2)


def open_engine_file(path: Path, *, slots: int, even_if_refused: bool = False) -> TensorRtEngine:
    """Open one engine file, with ``even_if_refused`` also one that failed its verification. Raises as above."""
    passport = read_passport(path)
    library = load_library(passport.backend)
    check_fits(path, passport, library, None)
    if not even_if_refused:
        check_verified(path, passport)
    plan = load_checked(path, passport)
    device = Cuda()
    check_fits(path, passport, library, device.gpu.target)
    network = load_network(library, plan, path, passport)
    try:
        return TensorRtEngine(network, device, passport, gpu=device.gpu, slots=slots)
    except BaseException:
        network.close()
        raise


def find_engine(model: Path) -> Path:
    """The engine file that is meant by a path: itself, or the newest of an ONNX file's in the cache.

    One that fits the GPU of this machine, if it has one, is preferred.

    Raises:
        EngineUnavailable: nothing was compiled for the ONNX file.
        ModelError: there is no such file.
    """
    if model.suffix == SUFFIX:
        if not model.is_file():
            raise ModelError(
                f"There is no engine file {str(model)!r}; `roadcast engine list` shows those of the cache."
            )
        return model
    sha256 = read_spec(model).sha256
    found = [entry for entry in entries() if entry.passport and entry.passport.onnx_sha256 == sha256]
    if not found:
        raise EngineUnavailable(
            f"No TensorRT engine was compiled for {str(model)!r}. Compile it: roadcast engine build {model}"
        )
    target = _target_here()
    fitting = [entry for entry in found if _fits(entry, target)]
    return (fitting or found)[0].path


def _fits(entry: Entry, target: str | None) -> bool:
    return entry.passport is not None and entry.passport.target == target


def _target_here() -> str | None:
    try:
        return Cuda().gpu.target
    except EngineUnavailable:
        return None
