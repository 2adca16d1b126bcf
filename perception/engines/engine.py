"""What an engine is: the seam between the node and whatever computes the network.

An engine takes BGR frames at network size and gives back named arrays that the caller owns. Device
pointers, streams and sessions never leave the engine's own module.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from perception.classes import ClassTable
from perception.geometry import fit_size
from perception.types import Size

Batch = npt.NDArray[np.uint8]  # (N, H, W, 3) BGR at network size
Outputs = Mapping[str, npt.NDArray[Any]]  # tensors of the graph contract, each with leading axis N


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """What is known about a model before it runs: the identity and input rule of its model card."""

    id: str
    sha256: str  # of the whole ONNX file, hex; empty for engines without a file
    precision: str  # fp32, fp16, int8
    classes: ClassTable
    outputs: tuple[str, ...]  # names of the graph's outputs
    fixed_size: Size | None = None  # (w, h) of a model with a fixed input, else None
    batch: int | None = None  # frames a batch of a model with a fixed batch, else None
    pixels: int = 512 * 288  # pixel budget of a dynamic model, from the card
    multiple: int = 32  # a dynamic model takes any multiple of this
    card: Mapping[str, str] = field(default_factory=dict)  # the ONNX metadata, as it is

    def network_size(self, source_size: Size, pixels: int | None = None) -> Size:
        """The (w, h) a frame of this size is brought to: the fixed one, or the nearest in aspect at the budget."""
        return self.fixed_size or fit_size(source_size, pixels or self.pixels, self.multiple)


class Pending(Protocol):
    """A batch that was submitted. It holds its slot until ``result`` is called or nobody refers to it any more."""

    started_ns: int  # time.monotonic_ns() when the network began with it; valid after ``result``
    finished_ns: int  # and when the outputs were there

    def result(self) -> Outputs:
        """Wait for the outputs; the arrays belong to the caller. Raises EngineError."""
        ...


class Engine(Protocol):
    """Something that runs one model. ``submit`` and ``result`` may be called from different threads."""

    name: str  # "onnxruntime", for the header
    slots: int  # batches that may lie between submit and result
    spec: ModelSpec
    reason: str  # one sentence: what runs the model, and why this
    fell_back: bool  # something better was offered here and failed; ``reason`` says what

    def submit(self, frames: Batch) -> Pending:
        """Start one batch and return at once, or block while no slot is free: that is the back-pressure.

        ``frames`` must stay unchanged until the result is there. Raises ShapeError for a batch that the
        model does not take, EngineError once the engine is closed.
        """
        ...

    def close(self) -> None:
        """Free what the engine holds. Batches still pending are lost: who waits for them gets EngineError."""
        ...


@runtime_checkable
class ResizingEngine(Engine, Protocol):
    """An engine that brings frames to network size itself, as ``perception.stages.prepare`` does."""

    def submit_resized(self, frames: Batch, size: Size) -> Pending:
        """Start one batch of frames (N, H, W, 3) of any size, to be brought to (w, h). Else as ``submit``."""
        ...
