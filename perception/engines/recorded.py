"""An engine that answers with prepared outputs: for tests, and to run everything but the network."""

from __future__ import annotations

import itertools
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from perception.classes import CITYSCAPES, ClassTable
from perception.engines.contract import OUTPUTS, check_frames
from perception.engines.engine import Batch, ModelSpec, Outputs
from perception.engines.slots import Slot, Slots, closed
from perception.errors import ModelError

NAME = "recorded"


class RecordedEngine:
    """Answers in the order of ``submit`` with the next recorded frames, from the start again after the last.

    Args:
        outputs: tensors of the graph contract; the leading axis T counts recorded frames.
        slots: batches that may lie between submit and result.

    Raises:
        ModelError: there is no ``labels``, a tensor has another dtype or rank than the contract says, or
            they hold different numbers of frames.
    """

    name = NAME
    fell_back = False

    def __init__(self, outputs: Outputs, *, classes: ClassTable = CITYSCAPES, slots: int = 2) -> None:
        self._length = _check(outputs)
        self._outputs = dict(outputs)
        self._next = itertools.count()
        self._slots = Slots(slots, NAME)
        self.slots = slots
        self.spec = ModelSpec(
            id=NAME, sha256="", precision="recorded", classes=classes, outputs=tuple(outputs), multiple=1
        )
        self.reason = f"Recorded answers of {self._length} frames, as asked for."
        self.is_closed = False

    def submit(self, frames: Batch) -> _Answer:
        """Look up one answer per frame, or block while no slot is free. See ``Engine``."""
        check_frames(self.spec, frames)
        slot = self._slots.take()
        at = [next(self._next) % self._length for _ in frames]
        return _Answer(self, slot, {name: array[at] for name, array in self._outputs.items()})

    def rewind(self) -> None:
        """Answer the next batch with the first recorded frames."""
        self._next = itertools.count()

    def close(self) -> None:
        """Release callers that wait for a slot, and answer no more."""
        self.is_closed = True
        self._slots.close()


class _Answer:
    def __init__(self, engine: RecordedEngine, slot: Slot, outputs: Outputs) -> None:
        self.started_ns = self.finished_ns = time.monotonic_ns()
        self._engine = engine
        self._slot = slot
        self._outputs = outputs

    def result(self) -> Outputs:
        """The prepared outputs; the arrays belong to the caller. Raises EngineError once closed."""
        self._slot.give()
        if self._engine.is_closed:
            raise closed(NAME)
        return self._outputs


def open_recorded(path: Path, *, slots: int = 2) -> RecordedEngine:
    """Read recorded outputs from an ``.npz`` file with one array per tensor. Raises ModelError."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            outputs = {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, AttributeError, TypeError, zipfile.BadZipFile) as error:
        raise ModelError(
            f"Cannot read recorded outputs from {str(path)!r}: {error}. "
            "Give an .npz file with an array 'labels' of u8 (T, h, w), as numpy.savez writes it."
        ) from error
    return RecordedEngine(outputs, slots=slots)


def _check(outputs: Outputs) -> int:
    """The number of frames that all tensors hold."""
    if "labels" not in outputs or not len(outputs["labels"]):
        raise ModelError(
            f"Recorded outputs need 'labels' of at least one frame; found: {', '.join(outputs) or 'none'}."
        )
    for name, array in outputs.items():
        _check_tensor(name, array, len(outputs["labels"]))
    return len(outputs["labels"])


def _check_tensor(name: str, array: npt.NDArray[Any], length: int) -> None:
    if name not in OUTPUTS:
        raise ModelError(f"Recorded outputs hold {name!r}, which the contract does not know: {', '.join(OUTPUTS)}.")
    dtype, rank = OUTPUTS[name]
    if array.dtype != dtype or array.ndim != rank or len(array) != length:
        raise ModelError(
            f"Recorded {name!r} must be {dtype} with {rank} axes, the first {length} long; "
            f"got {array.dtype} {array.shape}."
        )
