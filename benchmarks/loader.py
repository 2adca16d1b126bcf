"""The loader alone, and what it leaves of the training step.

    python benchmarks/loader.py --data camvid:DIR=0.65 --data kitti:DIR=0.35 [--workers 1] [--step]

Without ``--step``: how many milliseconds of processor a sample costs in one worker, part by part, and how many
samples a second the worker processes hand over while nothing else runs. With it: the same training step on
a batch that lies in memory and on what the loader gives, in turns; the ratio of the two rates is what counts.
Prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import cv2

from perception.bench.machine import hardware, software
from training.data.augment import Augmentation
from training.data.mixture import open_mixture
from training.data.samples import Mixture, Sampler

WEATHER = ("rain", "fog", "dusk", "night", "dark")
CAMERA = ("motion", "blur", "noise", "jpeg")
NOTHING = dict.fromkeys(("rare", "paste", "color", *WEATHER, *CAMERA), 0.0)
WARM_UP = 40  # batches, after which the files of small data sets lie in memory
ROUNDS = 5


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", action="append", required=True, metavar="KIND:DIR[:SPLIT][=WEIGHT]")
    parser.add_argument("--crop", default="384x288")
    parser.add_argument("--batch", type=int, default=10)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--batches", type=int, default=20, help="batches a round")
    parser.add_argument("--step", action="store_true", help="with the default network's training step")
    parser.add_argument("--precision", default="mixed_bfloat16", help="of the step")
    args = parser.parse_args()
    width, height = map(int, args.crop.split("x"))
    mixture = open_mixture(args.data)
    sampler = Sampler(mixture, (width, height), args.batch, seed=1)
    result: dict[str, Any] = {"machine": hardware(), "software": software(), "crop": args.crop, "batch": args.batch}
    if args.step:
        result |= _beside_the_step(sampler, args.workers, args.batches, args.precision)
    else:
        result["milliseconds_a_sample"] = _cost_by_part(mixture, sampler, args.batches)
        result |= _rate_alone(sampler, args.workers, args.batches)
    print(json.dumps(result, indent=1))


def _cost_by_part(mixture: Mixture, sampler: Sampler, batches: int) -> dict[str, float]:
    """Processor time in this process, of one thread; parts are differences to a sampler that lacks them."""
    cv2.setNumThreads(1)
    without: dict[str, Callable[[Augmentation], Augmentation]] = {
        "all": lambda rule: rule,
        "paste": lambda rule: replace(rule, paste=0),
        "weather": lambda rule: replace(rule, **dict.fromkeys(WEATHER, 0)),
        "camera": lambda rule: replace(rule, **dict.fromkeys(CAMERA, 0)),
        "color": lambda rule: replace(rule, color=0),
        "but the warp": lambda rule: replace(rule, **NOTHING),
    }
    samplers = {
        name: replace(sampler, mixture=replace(mixture, rules=tuple(map(change, mixture.rules))))
        for name, change in without.items()
    }  # they share what was read
    for index in range(WARM_UP):
        sampler.draw(0, index)
    seconds: dict[str, list[float]] = {name: [] for name in samplers}
    for round_number in range(ROUNDS):
        for name, one in samplers.items():
            started = time.process_time()
            for index in range(batches):
                one.draw(1 + round_number, index)
            seconds[name].append(time.process_time() - started)
    cost = {name: 1000 * statistics.median(all_) / batches / sampler.batch for name, all_ in seconds.items()}
    parts = {name: cost["all"] - cost[name] for name in without if name not in ("all", "but the warp")}
    return {
        name: round(value, 3) for name, value in {"all": cost["all"], "warp": cost["but the warp"], **parts}.items()
    }


def _rate_alone(sampler: Sampler, workers: int, batches: int) -> dict[str, Any]:
    from training.data.loader import Loader

    rates = []
    with Loader(sampler, batches, workers=workers) as loader:
        for round_number in range(WARM_UP // batches + ROUNDS):
            loader.start_epoch(round_number)
            started = time.perf_counter()
            for index in range(batches):
                loader[index]
            rates.append(batches * sampler.batch / (time.perf_counter() - started))
    return {"workers": workers, "samples_a_second": round(statistics.median(rates[-ROUNDS:]), 1)}


def _beside_the_step(sampler: Sampler, workers: int, batches: int, precision: str) -> dict[str, Any]:
    import keras

    from training.data.loader import Loader
    from training.losses import SegmentationLoss
    from training.models.light_unet import WIDTHS, light_unet
    from training.optimizer import build_optimizer

    class OneBatch(keras.utils.PyDataset):  # type: ignore[misc]  # keras is untyped
        def __len__(self) -> int:
            return batches

        def __getitem__(self, index: int) -> Any:
            return images, (labels, labels.copy())

    images, labels = sampler.draw(0, 0)
    keras.config.set_dtype_policy(precision)
    model = light_unet(WIDTHS["large"], auxiliary=True)
    loss = SegmentationLoss()
    optimizer = build_optimizer(rate=1e-3, encoder_rate=0.25, steps=10_000, ema=0.998)
    model.compile(optimizer, [loss, loss], jit_compile="auto" if keras.backend.backend() == "jax" else False)
    seconds: dict[str, list[float]] = {"in_memory": [], "from_files": []}
    with Loader(sampler, batches, workers=workers) as loader:
        for data in (OneBatch(), loader):  # compiles, and fills what is kept in memory
            model.fit(data, epochs=1, verbose=0, shuffle=False)
        for round_number in range(1, ROUNDS + 1):
            loader.start_epoch(round_number)
            for name, data in (("in_memory", OneBatch()), ("from_files", loader)):
                started = time.perf_counter()
                model.fit(data, epochs=1, verbose=0, shuffle=False)
                seconds[name].append((time.perf_counter() - started) / batches)
    steps = {name: statistics.median(all_) for name, all_ in seconds.items()}
    return {
        "workers": workers,
        "precision": precision,
        "seconds_a_step": {name: round(value, 3) for name, value in steps.items()},
        "rate_of_files_to_memory": round(
            statistics.median(a / b for a, b in zip(seconds["in_memory"], seconds["from_files"])), 3
        ),
    }


if __name__ == "__main__":
    main()
