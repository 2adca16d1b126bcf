"""The engine ``tensorrt``: a compiled network on as many lanes as there are slots."""

from __future__ import annotations

import threading
import time

import numpy as np

from perception.engines.answers import check_outputs
from perception.engines.contract import check_frames, spec_from_card
from perception.engines.engine import Batch, Outputs
from perception.engines.slots import Slot, Slots, closed
from perception.engines.tensorrt.device import Device, Gpu
from perception.engines.tensorrt.lane import Lane, compile_kernels
from perception.engines.tensorrt.network import Network
from perception.engines.tensorrt.passport import Passport
from perception.errors import EngineError, EngineUnavailable, ShapeError
from perception.stages.prepare import prepare
from perception.types import Size

NAME = "tensorrt"


class TensorRtEngine:
    """Runs a compiled network. See ``Engine``; it takes frames of any size, too, and resizes them on the GPU.

    Args:
        network, device: loaded and checked; the engine closes the network.
        gpu: what the device is.
    """

    name = NAME
    fell_back = False

    def __init__(self, network: Network, device: Device, passport: Passport, *, gpu: Gpu, slots: int = 2) -> None:
        self.spec = spec_from_card(
            passport.card,
            name=passport.onnx,
            sha256=passport.onnx_sha256,
            outputs=passport.outputs,
            fixed_size=passport.shapes.fixed_size,
            batch=passport.shapes.fixed_batch,
        )
        self.gpu = gpu
        self.slots = slots
        self._passport = passport
        self._network = network
        resizer = "frames are resized on the GPU"
        try:
            kernels = compile_kernels(device)
        except EngineUnavailable:
            kernels, resizer = {}, "frames are resized on the CPU, because NVRTC is not installed"
        self._resizes = bool(kernels)
        self.reason = (
            f"{passport.backend} {passport.version} in {passport.precision} on {gpu}; "
            f"{'verified' if passport.verified else 'not verified'}; {resizer}."
        )
        self._slots = Slots(slots, NAME)
        self._lanes = [Lane(network, device, passport.outputs, kernels) for _ in range(slots)]
        self._free = list(self._lanes)
        self._lock = threading.RLock()  # a batch may be given back by the collector, anywhere
        self._closed = False

    def submit(self, frames: Batch) -> _LaneBatch:
        """Start one batch at network size, or block while no slot is free. See ``Engine``."""
        return self.submit_resized(frames, (frames.shape[2], frames.shape[1]) if frames.ndim == 4 else (0, 0))

    def submit_resized(self, frames: Batch, size: Size) -> _LaneBatch:
        """Start one batch of frames (N, H, W, 3) of any size, brought to (w, h) as ``prepare`` does it.

        Raises:
            ShapeError: the network does not take such a batch.
            EngineError: the device failed, or the engine is closed.
        """
        if frames.ndim != 4 or (frames.shape[2], frames.shape[1]) == size:
            check_frames(self.spec, frames)
        elif not self._resizes:
            return self.submit(np.stack([prepare(frame, size) for frame in frames]))
        at_size = (len(frames), size[1], size[0], 3)
        self._check(frames, at_size)
        slot = self._slots.take()
        with self._lock:
            lane = self._free.pop()
        batch = _LaneBatch(self, lane, slot, at_size)
        batch.started_ns = time.monotonic_ns()
        try:
            lane.start(frames, size)
        except BaseException:
            batch.abandon()
            raise
        return batch

    def close(self) -> None:
        """Wait for what runs on the GPU and free everything there."""
        self._closed = True
        self._slots.close()
        for lane in self._lanes:
            lane.close()
        self._network.close()

    def _check(self, frames: Batch, at_size: tuple[int, ...]) -> None:
        if frames.dtype != np.uint8 or frames.shape[3] != 3 or 0 in frames.shape:
            raise ShapeError(f"A batch must be uint8 (N, H, W, 3), got {frames.dtype} {frames.shape}.")
        if not self._passport.shapes.holds(at_size):
            raise ShapeError(
                f"The engine was compiled for {self._passport.shapes}, got {at_size[0]} x {at_size[2]}x{at_size[1]}. "
                f"Compile it for that, too: {self._passport.rebuild()} with other --size or --batch."
            )

    def _return(self, lane: Lane) -> None:
        with self._lock:
            self._free.append(lane)


class _LaneBatch:
    """A batch on its lane. The lane goes back when the result was asked for, or nobody can ask any more."""

    def __init__(self, engine: TensorRtEngine, lane: Lane, slot: Slot, shape: tuple[int, ...]) -> None:
        self.started_ns = self.finished_ns = 0
        self._engine = engine
        self._lane: Lane | None = lane
        self._slot = slot
        self._shape = shape

    def result(self) -> Outputs:
        """Wait for the outputs; the arrays belong to the caller. Raises EngineError."""
        lane = self._lane
        if lane is None:
            raise EngineError("The result of this batch was taken already.")
        try:
            outputs, took_ms = lane.finish()
        except EngineError:
            if self._engine._closed:
                raise closed(NAME) from None
            raise
        finally:
            self.abandon()
        self.finished_ns = min(time.monotonic_ns(), self.started_ns + round(took_ms * 1e6))
        check_outputs(self._engine.spec, self._shape, outputs)
        return outputs

    def abandon(self) -> None:
        """Give lane and slot back; a second call does nothing."""
        lane, self._lane = self._lane, None
        if lane is not None:
            self._engine._return(lane)
            self._slot.give()

    def __del__(self) -> None:
        self.abandon()
