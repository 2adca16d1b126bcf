"""Measures a compiled engine against a reference on the same frames, and notes the result in its passport."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from perception.engines.engine import Engine
from perception.engines.tensorrt.passport import (
    Passport,
    Verification,
    read_passport,
    with_verification,
    write_passport,
)
from perception.errors import ModelError
from perception.stages.prepare import prepare
from perception.types import VOID, Image, LabelMap, Size

SEED = 11
STEP = 15  # frames of the rendered street between two that are compared
WARM_UP = 10
TIMED = 200


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far two engines agree on the same frames."""

    frames: int
    agreement: float  # share of pixels with the same label
    worst_frame: float
    miou: float | None  # of the engine, on frames whose truth is known
    reference_miou: float | None


def compare_engines(
    engine: Engine, reference: Engine, frames: Iterable[tuple[Image, LabelMap | None]], size: Size
) -> Agreement:
    """Run both on every frame, brought to network size (w, h) once; truth is compared at the size of the labels.

    Raises:
        ModelError: they answer with maps of different size, or there is no frame.
        EngineError: one of them failed.
    """
    classes = len(engine.spec.classes)
    agreements: list[float] = []
    confusions = np.zeros((2, classes, classes), np.int64)
    for image, truth in frames:
        batch = prepare(image, size)[None]
        found, wanted = (one.submit(batch).result()["labels"][0] for one in (engine, reference))
        if found.shape != wanted.shape:
            raise ModelError(
                f"The engine gives label maps of {found.shape}, the reference of {wanted.shape}: they are not of one "
                "model. Give another --reference."
            )
        agreements.append(float((found == wanted).mean()))
        if truth is not None:
            small = cv2.resize(truth, (found.shape[1], found.shape[0]), interpolation=cv2.INTER_NEAREST)
            for confusion, labels in zip(confusions, (found, wanted)):
                confusion += _confusion(np.asarray(small, np.uint8), labels, classes)
    if not agreements:
        raise ModelError("There is no frame to compare on.")
    mean = float(np.mean(agreements))
    mious = (None, None) if not confusions.any() else (_mean_iou(confusions[0]), _mean_iou(confusions[1]))
    return Agreement(len(agreements), mean, min(agreements), *mious)


def time_engine(engine: Engine, frames: npt.NDArray[np.uint8], rounds: int = TIMED) -> tuple[float, float]:
    """Median and 99th percentile of submit to result, one batch (N, H, W, 3) at a time, milliseconds."""
    for _ in range(WARM_UP):
        engine.submit(frames).result()
    taken = []
    for _ in range(rounds):
        started = time.perf_counter()
        engine.submit(frames).result()
        taken.append((time.perf_counter() - started) * 1e3)
    p50, p99 = np.percentile(taken, (50, 99))
    return float(p50), float(p99)


def verify(
    path: Path, reference: Path | None, frames: int, *, show: Callable[[str], None] = lambda _: None
) -> Passport:
    """Compare an engine file with ONNX Runtime on the CPU on rendered street frames; returns the new passport.

    Args:
        reference: an ONNX file; None for the one that the engine was compiled from.

    Raises:
        EngineUnavailable: there is no GPU or no TensorRT here.
        ModelError: the reference is missing.
        EngineError: the engine is damaged or does not fit this machine.
    """
    from perception.engines.onnxruntime import OnnxRuntimeEngine
    from perception.engines.tensorrt.open import open_engine_file
    from perception.synth import Street

    passport = read_passport(path)
    model = reference or Path(passport.onnx)
    engine = open_engine_file(path, slots=1, even_if_refused=True)
    try:
        right = OnnxRuntimeEngine(model, mode="latency", device="cpu")
        size = passport.shapes.size[1]
        street = Street(seed=SEED)

        def rendered() -> Iterable[tuple[Image, LabelMap | None]]:
            for number in range(frames):
                show(f"comparing: frame {number + 1} of {frames}")
                frame = street.render(number * STEP)
                yield frame.image, frame.labels

        found = compare_engines(engine, right, rendered(), size)
        right.close()
        show("timing")
        batch = np.broadcast_to(prepare(street.render(0).image, size), (passport.shapes.batch[1], size[1], size[0], 3))
        p50, p99 = time_engine(engine, batch)
        verification = Verification(
            frames=found.frames,
            agreement=found.agreement,
            worst_frame=found.worst_frame,
            miou=found.miou,
            reference_miou=found.reference_miou,
            p50_ms=p50,
            p99_ms=p99,
            reference=f"{model.name} on ONNX Runtime",
            gpu=engine.gpu.name,
            driver=engine.gpu.driver,
            date=time.strftime("%Y-%m-%d"),
        )
    finally:
        engine.close()
    passport = with_verification(passport, verification)
    write_passport(path, passport)
    return passport


def _confusion(truth: LabelMap, labels: LabelMap, classes: int) -> npt.NDArray[np.int64]:
    """(C, C) pixel counts, rows truth; void is left out on either side."""
    known = (truth != VOID) & (labels < classes)
    index = truth[known].astype(np.int64) * classes + labels[known]
    return np.bincount(index, minlength=classes * classes).reshape(classes, classes)


def _mean_iou(confusion: npt.NDArray[np.int64]) -> float:
    """Over the classes that are in the truth."""
    hit, rows = np.diag(confusion), confusion.sum(axis=1)
    union = rows + confusion.sum(axis=0) - hit
    return float((hit[rows > 0] / union[rows > 0]).mean())
