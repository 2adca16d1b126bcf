"""A compiled network, loaded: execution contexts that run it on a stream. With cuda.py all that touches the GPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np

from perception.engines.contract import INPUT
from perception.engines.tensorrt.library import Library, make_logger, plain_reason
from perception.engines.tensorrt.passport import Passport
from perception.errors import EngineError

Shape = tuple[int, ...]


class Context(Protocol):
    """One execution of a network at a time, for one input shape."""

    outputs: dict[str, tuple[Shape, np.dtype[Any]]]  # of the input shape that it was made for

    def bind(self, name: str, pointer: int) -> None:
        """Say where an input or output lies on the device."""
        ...

    def enqueue(self, stream: Any) -> None:
        """Let the network run when the stream comes to it. Raises EngineError."""
        ...


class Network(Protocol):
    """Makes contexts for a loaded engine."""

    def context(self, shape: Shape) -> Context:
        """A new context for input of shape (N, H, W, 3). Raises EngineError."""
        ...

    def close(self) -> None:
        """Free the engine. Its contexts must be gone."""
        ...


def load_network(library: Library, plan: bytes, path: Path, passport: Passport) -> Network:
    """Load an engine whose bytes and passport were checked. Raises EngineError, with the command that rebuilds it."""
    errors: list[str] = []
    logger = make_logger(library, lambda severity, text: errors.append(text) if "ERROR" in severity else None)
    runtime = library.module.Runtime(logger)
    engine = runtime.deserialize_cuda_engine(plan)
    if engine is None:
        raise EngineError(
            f"{library} cannot load the engine {str(path)!r}: {plain_reason(errors)}. "
            f"Compile it again: {passport.rebuild()}"
        )
    return _TrtNetwork(library, runtime, engine, errors)


class _TrtNetwork:
    def __init__(self, library: Library, runtime: Any, engine: Any, errors: list[str]) -> None:
        self._library = library
        self._runtime = runtime
        self._engine = engine
        self._errors = errors

    def context(self, shape: Shape) -> Context:
        context = self._engine.create_execution_context()
        if context is None:  # usually memory
            raise EngineError(f"{self._library} cannot start the network: {plain_reason(self._errors)}.")
        return _TrtContext(self._library, self._engine, context, shape, self._errors)

    def close(self) -> None:
        self._engine = None
        self._runtime = None


class _TrtContext:
    def __init__(self, library: Library, engine: Any, context: Any, shape: Shape, errors: list[str]) -> None:
        self._context = context
        self._errors = errors
        self._library = library
        if not context.set_input_shape(INPUT, shape):
            raise EngineError(f"{library} refuses input of shape {shape}: {plain_reason(errors)}.")
        trt = library.module
        names = [engine.get_tensor_name(at) for at in range(engine.num_io_tensors)]
        self.outputs = {
            name: (tuple(context.get_tensor_shape(name)), np.dtype(trt.nptype(engine.get_tensor_dtype(name))))
            for name in names
            if engine.get_tensor_mode(name) == trt.TensorIOMode.OUTPUT
        }

    def bind(self, name: str, pointer: int) -> None:
        self._context.set_tensor_address(name, pointer)

    def enqueue(self, stream: Any) -> None:
        if not self._context.execute_async_v3(int(stream)):
            raise EngineError(f"{self._library} cannot run the network: {plain_reason(self._errors)}.")
