"""The same model in several precisions: milliseconds a frame, taken in turns so that other load meets all alike.

python benchmarks/precisions.py fp32.onnx fp16.onnx int8.onnx [--size 576x320] [--threads 2]
"""

from __future__ import annotations

import argparse
import json
import time
from contextlib import ExitStack, closing
from pathlib import Path

import numpy as np

from perception.engines.open import open_engine

ENGINES = ("onnxruntime", "openvino")


def main() -> None:
    """Print one JSON object: medians, and each file's time relative to the first in the same turn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--size", default="576x320")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=40)
    args = parser.parse_args()
    width, height = map(int, args.size.split("x"))
    frame = np.random.default_rng(0).integers(0, 256, (1, height, width, 3), np.uint8)
    result: dict[str, dict[str, dict[str, float]]] = {}
    for name in ENGINES:
        with ExitStack() as stack:
            engines = [
                stack.enter_context(closing(open_engine(name, path, mode="latency", threads=args.threads)))
                for path in args.models
            ]
            times = np.empty((args.rounds + 3, len(engines)))
            for turn in times:
                for place, engine in enumerate(engines):
                    began = time.perf_counter()
                    engine.submit(frame).result()
                    turn[place] = 1000 * (time.perf_counter() - began)
        times = times[3:]
        relative = times / times[:, :1]
        result[name] = {
            path.stem: {
                "median_ms": round(float(np.median(times[:, i])), 2),
                "least_ms": round(float(times[:, i].min()), 2),
                "of_first": round(float(np.median(relative[:, i])), 3),
            }
            for i, path in enumerate(args.models)
        }
    print(json.dumps({"size": args.size, "threads": args.threads, "engines": result}, indent=1))


if __name__ == "__main__":
    main()
