"""The one place where an engine's name becomes an engine."""

from __future__ import annotations

from pathlib import Path

from perception.engines.engine import Engine
from perception.engines.mode import DEVICES, MODES, Device, Mode
from perception.engines.shipped import DEFAULT_MODEL, model_file
from perception.errors import ConfigError, EngineUnavailable, ModelError

_ONLY_ON: dict[str, Device] = {"openvino": "cpu", "tensorrt": "cuda"}
NAMES = ("auto", "onnxruntime", "openvino", "tensorrt", "recorded", "simulated://")


def open_engine(
    name: str = "auto",
    model: Path | None = None,
    *,
    mode: Mode = "throughput",
    threads: int | None = None,
    slots: int | None = None,
    device: Device = "auto",
    enhance: str | None = None,
) -> Engine:
    """Open an engine for a model; ``engine.reason`` says in one sentence what runs it and why.

    Args:
        name: ``auto``, ``onnxruntime``, ``openvino``, ``tensorrt``, ``recorded`` or
            ``simulated://?infer_ms=8&slots=2``.
        model: an ONNX file, or the name of a model that comes with the package; None for the default one. For
            ``tensorrt`` it was compiled with ``roadcast engine build``; an .engine file does as well. For
            ``recorded`` an .npz file with prepared outputs; ``simulated`` has none.
        mode: ``throughput`` for many frames a second, ``latency`` for the soonest answer to each.
        threads: cores the engine may use, None for all.
        slots: batches that may lie between submit and result, None for what suits the mode.
        device: ``cpu``, ``cuda``, or ``auto`` for CUDA where it works.
        enhance: what is put before the model, one of ``perception.engines.shipped.ENHANCEMENTS`` or an ONNX file.

    Raises:
        ConfigError: an option has an impossible value, or the engine has no network that could be enhanced.
        EngineUnavailable: there is no such engine, or what it needs is not installed.
        ModelError: the model is missing or damaged, or breaks the graph contract.
        EngineError: a compiled engine is damaged, or does not fit this machine.
    """
    check_name(name)
    _check_options(mode, threads, slots, device)
    _check_place(name, device)
    path = model_file(model) if model else DEFAULT_MODEL
    if enhance is not None:
        path = _enhanced(name, path, enhance)
    if name == "auto":
        from perception.engines.auto import open_auto

        return open_auto(path, mode=mode, threads=threads, slots=slots, device=device)
    if name == "onnxruntime":
        from perception.engines.onnxruntime import OnnxRuntimeEngine

        return OnnxRuntimeEngine(path, mode=mode, threads=threads, slots=slots, device=device)
    if name == "openvino":
        from perception.engines.openvino import OpenVinoEngine

        return OpenVinoEngine(path, mode=mode, threads=threads, slots=slots)
    if name == "tensorrt":
        from perception.engines.tensorrt.open import open_tensorrt

        return open_tensorrt(path, slots=slots)
    if name == "recorded":
        if model is None:
            raise ModelError("The engine 'recorded' needs its answers: give an .npz file as the model.")
        from perception.engines.recorded import open_recorded

        return open_recorded(model, slots=slots or 2)
    from perception.engines.simulated import open_simulated

    return open_simulated(name, slots=slots)


def _enhanced(name: str, model: Path, enhance: str) -> Path:
    if name not in ("auto", "onnxruntime", "openvino", "tensorrt"):
        raise ConfigError(f"The engine {name!r} runs no network that could enhance a frame: leave --enhance out.")
    if model.suffix == ".engine":
        raise ConfigError(
            f"{str(model)!r} is compiled, and nothing can be put before it: write one file with `roadcast-train "
            "export --enhance`, compile that, and leave --enhance out."
        )
    from perception.engines.enhancement import enhanced_model

    return enhanced_model(model, enhance)


def check_name(name: str) -> None:
    """Raise EngineUnavailable if there is no engine of this name."""
    if name not in NAMES and name.partition(":")[0] != "simulated":
        raise EngineUnavailable(f"There is no engine {name!r}. Choose one of: {', '.join(NAMES)}.")


def _check_place(name: str, device: str) -> None:
    """Raise ConfigError for a device that the engine does not compute on, rather than compute on another one."""
    only = _ONLY_ON.get(name, device)
    if device not in ("auto", only):
        raise ConfigError(
            f"The engine {name!r} computes on {only} alone: leave --device {device} out, or take onnxruntime."
        )


def _check_options(mode: str, threads: int | None, slots: int | None, device: str) -> None:
    if mode not in MODES:
        raise ConfigError(f"There is no engine mode {mode!r}. Choose one of: {', '.join(MODES)}.")
    if device not in DEVICES:
        raise ConfigError(f"There is no engine device {device!r}. Choose one of: {', '.join(DEVICES)}.")
    for option, value in (("threads", threads), ("slots", slots)):
        if value is not None and value < 1:
            raise ConfigError(f"The engine needs at least 1 of {option}, got {value}.")
