"""The cost of one training step of the default network, by backend and precision.

    KERAS_BACKEND=tensorflow python benchmarks/training_step.py [--precision mixed_bfloat16] [--batch 8]

The batch lies in memory: no file is read and nothing is augmented.
"""

from __future__ import annotations

import argparse
import statistics
import time

import keras
import numpy as np

from training.data.augment import LABEL_STRIDE
from training.data.taxonomy import CLASSES
from training.losses import SegmentationLoss
from training.models.light_unet import WIDTHS, light_unet
from training.optimizer import build_optimizer

STEPS = 3


class OneBatch(keras.utils.PyDataset):  # type: ignore[misc]  # keras is untyped
    """The same batch, ``steps`` times an epoch."""

    def __init__(self, batch: int, width: int, height: int, steps: int) -> None:
        super().__init__()
        random = np.random.default_rng(1)
        self._images = random.integers(0, 256, (batch, height, width, 3), np.uint8)
        self._labels = random.integers(0, CLASSES, (batch, height // LABEL_STRIDE, width // LABEL_STRIDE), np.uint8)
        self._steps = steps

    def __len__(self) -> int:
        return self._steps

    def __getitem__(self, index: int) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
        return self._images, (self._labels, self._labels.copy())


def main() -> None:
    """Print the time of the first step, which compiles, and of the later ones."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--crop", default="480x320")
    parser.add_argument("--width", default="large", choices=list(WIDTHS))
    args = parser.parse_args()
    width, height = map(int, args.crop.split("x"))
    keras.config.set_dtype_policy(args.precision)
    model = light_unet(WIDTHS[args.width], auxiliary=True)
    loss = SegmentationLoss()
    optimizer = build_optimizer(rate=1e-3, encoder_rate=0.25, steps=1000, ema=0.998)
    # XLA on a CPU took several times as long as the backends' own kernels.
    model.compile(optimizer, [loss, loss], jit_compile="auto" if keras.backend.backend() == "jax" else False)
    first = _seconds(model, OneBatch(args.batch, width, height, 1))
    steps = [_seconds(model, OneBatch(args.batch, width, height, STEPS)) / STEPS for _ in range(3)]
    median = statistics.median(steps)
    print(
        f"{keras.backend.backend()} {args.precision} {args.width} {args.batch}x{args.crop}: first {first:.1f} s, "
        f"then {median * 1000:.0f} ms a step, {args.batch / median:.1f} images a second"
    )


def _seconds(model: keras.Model, data: OneBatch) -> float:
    started = time.perf_counter()
    model.fit(data, epochs=1, verbose=0)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
