"""Compiles an exported ONNX file with TensorRT. Precision is in the file: every network is strongly typed."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from perception.engines.contract import INPUT
from perception.engines.tensorrt.argmax import rewrite_argmax
from perception.engines.tensorrt.layers import Layer, read_layers
from perception.engines.tensorrt.library import Library, make_logger, plain_reason
from perception.engines.tensorrt.progress import BuildProgress, make_monitor
from perception.engines.tensorrt.shapes import Shapes
from perception.errors import ConfigError, ModelError


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that decides what a build gives, besides the ONNX file and the library."""

    target: str  # "sm89"
    shapes: Shapes
    is_current_gpu: bool = False  # build for, and time kernels on, the GPU of this machine
    tf32: bool = True  # fp32 convolutions may round their inputs to 10 bits of mantissa, as cuDNN does by default
    fused_argmax: bool = True

    def flags(self) -> dict[str, bool]:
        """The switches among it, for the cache key and the passport."""
        return {"tf32": self.tf32, "fused_argmax": self.fused_argmax}


@dataclass(frozen=True, slots=True)
class Built:
    """A compiled engine in memory."""

    plan: bytes
    layers: tuple[Layer, ...]
    seconds: float
    timing: bytes  # what TensorRT learned about kernels, for the next build; empty where it keeps none


def build_plan(
    library: Library,
    model: Path,
    recipe: Recipe,
    *,
    timing: bytes = b"",
    show: Callable[[str], None] = lambda _: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Built:
    """Compile a model, for another GPU than that of this machine where the library can.

    Args:
        timing: of an earlier build with this library and GPU.
        show: is called with one line about progress and remaining time.
        cancelled: asked at every step; once true the build ends.

    Raises:
        ModelError: the library cannot compile the model; the message names the layer.
        ConfigError: the library does not know the target.
        KeyboardInterrupt: ``cancelled`` became true.
    """
    trt = library.module
    log = _Log()
    logger = make_logger(library, log)
    started = time.monotonic()
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    show("reading the model")
    if not parser.parse_from_file(str(model)):
        raise _cannot_parse(library, model, parser)
    constants = rewrite_argmax(library, network) if recipe.fused_argmax else []
    config = builder.create_builder_config()
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    config.progress_monitor = make_monitor(library, BuildProgress(show, cancelled))
    if not recipe.tf32:
        config.clear_flag(trt.BuilderFlag.TF32)
    if not recipe.is_current_gpu:
        _set_target(library, config, recipe.target)
    profile = builder.create_optimization_profile()
    profile.set_shape(INPUT, *recipe.shapes.frames())
    config.add_optimization_profile(profile)
    with _kept_timings(library, config, timing) as kept:
        plan = builder.build_serialized_network(network, config)
    del constants  # TensorRT has only borrowed them
    if cancelled():
        raise KeyboardInterrupt
    if plan is None:
        raise ModelError(f"{library} cannot compile {str(model)!r} for {recipe.target}: {log.complaint()}.")
    return Built(bytes(plan), read_layers(log.details), time.monotonic() - started, kept())


def targets(library: Library) -> tuple[str, ...]:
    """GPU architectures that the library compiles for without one at hand; empty for the full TensorRT."""
    known = getattr(library.module, "ComputeCapability", None)
    names = getattr(known, "__members__", {}) if library.backend == "tensorrt_rtx" else {}
    return tuple(sorted((name.lower() for name in names if name.startswith("SM")), key=lambda name: int(name[2:])))


def _set_target(library: Library, config: Any, target: str) -> None:
    if target not in targets(library):
        known = ", ".join(targets(library))
        raise ConfigError(
            f"{library} does not compile for {target}. "
            + (f"It knows: {known}." if known else "It compiles for the GPU at hand only: --gpu current.")
        )
    config.num_compute_capabilities = 1
    config.set_compute_capability(getattr(library.module.ComputeCapability, target.upper()), 0)


@contextmanager
def _kept_timings(library: Library, config: Any, known: bytes) -> Iterator[Callable[[], bytes]]:
    """Let the build start from ``known`` timings of kernels; afterwards the callable gives the new ones.

    TensorRT for RTX chooses kernels when it runs and times nothing here.
    """
    if library.backend == "tensorrt_rtx":
        yield lambda: b""
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        cache = config.create_timing_cache(known)
        config.set_timing_cache(cache, ignore_mismatch=False)
        yield lambda: bytes(config.get_timing_cache().serialize())


class _Log:
    """What the library logged: errors, and the listing of layers."""

    def __init__(self) -> None:
        self.details: list[str] = []
        self._errors: list[str] = []

    def __call__(self, severity: str, message: str) -> None:
        if severity in ("ERROR", "INTERNAL_ERROR"):
            self._errors.append(message)
        elif severity == "VERBOSE" and "LayerType:" in message:
            self.details.append(message)

    def complaint(self) -> str:
        """The first error that is about the model."""
        return plain_reason(self._errors)


def _cannot_parse(library: Library, model: Path, parser: Any) -> ModelError:
    errors = [parser.get_error(at) for at in range(parser.num_errors)]
    for error in errors:
        reason = plain_reason([error.desc()]).removeprefix(f"{error.node_name()}: ")
        if error.node_name() or error.node_operator():
            where = f"layer {error.node_name()!r} ({error.node_operator()})"
            hint = _hint(error.node_operator(), reason)
            return ModelError(f"{library} cannot compile {str(model)!r}: {where}: {reason}.{hint}")
    reason = plain_reason([error.desc() for error in errors])
    return ModelError(
        f"{library} cannot read {str(model)!r}: {reason}. It may be damaged, or lack weights that lie in a file of "
        "their own beside it."
    )


_ELSEWHERE = "As it is, the model may run with --engine onnxruntime."


def _hint(operator: str, reason: str) -> str:
    """What to do about the mistakes that exported graphs are known to have."""
    if operator in ("QuantizeLinear", "DequantizeLinear"):
        return (
            " It takes int8 only signed, with zero point 0, and biases in floating point: "
            "`roadcast-train export --precision int8 --int8-for tensorrt` writes that."
        )
    if "uint8" in reason.lower():
        return (
            " u8 is allowed only straight into a Cast from 'frame' and straight out of one to an output, as "
            f"`roadcast-train export` writes it. {_ELSEWHERE}"
        )
    return f" {_ELSEWHERE}"
