"""How fast the synthetic street is drawn, played in order, in every weather.

    python benchmarks/street.py [--size 320x180,1280x720] [--frames 300] [--rounds 3] [--out FILE]

Frames for each second of one core (processor time, one thread). The first frame of a street, with which its
surroundings are built, is not counted. Sizes and weathers take turns in every round; the table has the medians.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from pathlib import Path

import cv2

from perception.files import write_whole
from perception.synth import Street
from perception.synth.options import WEATHERS, Weather
from perception.types import Size

LEAST = {(320, 180): 100.0, (1280, 720): 20.0}  # what is promised


def main() -> int:
    """Print the table; 1 where a promise is not kept."""
    parser = argparse.ArgumentParser(description="Measure how fast the synthetic street is drawn.")
    parser.add_argument("--size", default="320x180,1280x720", help="default: %(default)s")
    parser.add_argument("--frames", type=int, default=300, help="of each street (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="default: %(default)s")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    sizes = [tuple(int(side) for side in text.split("x")) for text in args.size.split(",")]
    rates: dict[str, dict[str, list[float]]] = {}
    kept = True
    for _ in range(args.rounds):
        for width, height in sizes:
            for weather in WEATHERS:
                of_size = rates.setdefault(f"{width}x{height}", {})
                of_size.setdefault(weather, []).append(rate((width, height), weather, args.frames))
    for width, height in sizes:
        medians = {weather: statistics.median(found) for weather, found in rates[f"{width}x{height}"].items()}
        mean = statistics.harmonic_mean(medians.values())  # the rate over all weathers, one after another
        print(f"{width}x{height}", *(f"{weather} {value:.1f}" for weather, value in medians.items()), f"all {mean:.1f}")
        kept &= mean >= LEAST.get((width, height), 0.0)
    if args.out:
        write_whole(args.out, json.dumps({"frames": args.frames, "frames_a_second": rates}, indent=1) + "\n")
    return 0 if kept else 1


def rate(size: Size, weather: Weather, frames: int) -> float:
    """Frames a second of processor time, from the second frame of seed 1 on."""
    street = Street(1, size, 30, weather)
    street.render(0)
    started = time.process_time()
    for number in range(1, frames + 1):
        street.render(number)
    return frames / (time.process_time() - started)


if __name__ == "__main__":
    sys.exit(main())
