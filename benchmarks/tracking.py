"""Tracks on rendered drives with exact masks: IDF1, MOTA, HOTA, and what a frame costs.

    python benchmarks/tracking.py --drives 1000..1009 --frames 300 --keep out/drives --out tracking.json

Objects are the exact masks of the street at 640x360, 30 frames a second, by day. A true object counts in the frames
where it has --min-area pixels; the tracker gets just those. --every 3 drops two of three frames. --keep holds what
was rendered, for the next run. Then the cost per frame: of the drives, and of what must not degenerate.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from perception.files import write_whole
from perception.synth.street import Street
from perception.tracking.tracker import Tracker
from training.metrics.tracking import TrackingTally

SIZE = (640, 360)
FPS = 30.0
Ids = npt.NDArray[np.uint16]


@dataclass(frozen=True)
class Seen:
    """The objects of one frame: their true tracks, classes, boxes in pixels, and the map of them."""

    tracks: npt.NDArray[np.int64]
    class_ids: npt.NDArray[np.uint8]
    boxes: npt.NDArray[np.float64]
    ids: Ids


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--drives", default="1000..1009", metavar="A..B")
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--min-area", type=int, action="append", help="repeatable (default 100 and 28)")
    parser.add_argument("--every", type=int, action="append", help="repeatable (default 1 and 3)")
    parser.add_argument("--keep", type=Path, default=Path("out/drives"))
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    first, _, last = args.drives.partition("..")
    seeds = range(int(first), int(last or first) + 1)
    result = {
        "command": "python benchmarks/tracking.py",
        "machine": platform.processor() or platform.machine(),
        "drives": args.drives,
        "frames": args.frames,
        "exact_masks": [
            accuracy(args.keep, seeds, args.frames, area, every)
            for area in args.min_area or [100, 28]
            for every in args.every or [1, 3]
        ],
        "cost_ms": {name: cost(make) for name, make in CASES.items()},
    }
    text = json.dumps(result, indent=1)
    print(text)
    if args.out:
        write_whole(args.out, text + "\n")


def accuracy(keep: Path, seeds: range, frames: int, min_area: int, every: int) -> dict[str, object]:
    """Scores of every drive and of all together; milliseconds are of this process's CPU time."""
    together, of_drive, spent_s, count = TrackingTally(), {}, 0.0, 0
    for seed in seeds:
        tracker, alone = Tracker(), TrackingTally()
        together.restart()
        for seen in drive(keep, seed, frames, min_area, every):
            begun = time.process_time()
            found = tracker.follow(
                seen.boxes / np.tile(SIZE, 2),
                seen.class_ids,
                seconds=every / FPS,
                pixel=(1 / SIZE[0], 1 / SIZE[1]),
                ids=seen.ids,
            )
            spent_s, count = spent_s + time.process_time() - begun, count + 1
            alone.add(seen.tracks, found, np.eye(len(found)))
            together.add(seen.tracks, found, np.eye(len(found)))
        of_drive[str(seed)] = round(alone.score().idf1, 4)
    return {
        "min_area": min_area,
        "every": every,
        **together.score().to_json(),
        "idf1_of_drives": of_drive,
        "ms_a_frame": round(1000 * spent_s / count, 3),
    }


def drive(keep: Path, seed: int, frames: int, min_area: int, every: int) -> Iterator[Seen]:
    """The objects of every ``every``-th frame of a street."""
    path = keep / f"{seed}.npz"
    if not path.exists():
        render(path, seed, frames)
    with np.load(path) as kept:
        rows, maps = kept["rows"], kept["maps"]
    for number in range(0, min(frames, len(maps)), every):
        here = rows[(rows[:, 0] == number) & (rows[:, 3] >= min_area)]
        renumber = np.zeros(256, np.uint16)
        renumber[here[:, 4]] = np.arange(1, len(here) + 1)
        ids = renumber[maps[number]]
        yield Seen(here[:, 1], here[:, 2].astype(np.uint8), boxes_of(ids, len(here)), ids)


def render(path: Path, seed: int, frames: int) -> None:
    """Write what is true of a drive: rows of frame, track, class, area and value, and maps of the values."""
    street, rows, maps = Street(seed, SIZE, FPS), [], np.zeros((frames, *SIZE[::-1]), np.uint8)
    for number in range(frames):
        frame = street.render(number)
        value_of = np.zeros(int(frame.instances.max()) + 1, np.uint8)
        for value, thing in enumerate(frame.objects, 1):
            value_of[thing.instance_id] = value
            rows.append((number, thing.track, thing.class_id, thing.area, value))
        maps[number] = value_of[frame.instances]
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, rows=np.array(rows, np.int64), maps=maps)


def boxes_of(ids: Ids, count: int) -> npt.NDArray[np.float64]:
    """(N, 4) x0 y0 x1 y1 of the values 1..N."""
    y, x = np.nonzero(ids)
    rows = ids[y, x].astype(np.int64) - 1
    low, high = np.full((count, 2), 1 << 20), np.zeros((count, 2), np.int64)
    np.minimum.at(low, rows, np.stack([x, y], axis=1))
    np.maximum.at(high, rows, np.stack([x, y], axis=1) + 1)
    return np.concatenate([low, high], axis=1).astype(np.float64)


def blocks(across: int, down: int, size: tuple[int, int] = (1024, 512)) -> Seen:
    """A map of equal blocks, as many as fit 16 bits."""
    x, y = np.meshgrid(np.arange(size[0]) * across // size[0], np.arange(size[1]) * down // size[1])
    ids = (y * across + x + 1).astype(np.uint16)
    count = across * down
    return Seen(np.arange(count), np.full(count, 13, np.uint8), boxes_of(ids, count), ids)


def nothing() -> Seen:
    """A map without objects."""
    return Seen(np.zeros(0, np.int64), np.zeros(0, np.uint8), np.zeros((0, 4)), np.zeros((512, 1024), np.uint16))


CASES: dict[str, Callable[[], Seen]] = {
    "no objects": nothing,
    "one over the whole frame": lambda: blocks(1, 1),
    "32 objects": lambda: blocks(8, 4),
    "2,000 objects": lambda: blocks(50, 40),
    "65,280 objects": lambda: blocks(255, 256),
}


def cost(make: Callable[[], Seen], rounds: int = 10) -> float:
    """Milliseconds of CPU time for one frame of a 1024x512 map, the median of some."""
    seen, tracker, taken = make(), Tracker(), []
    height, width = seen.ids.shape
    for _ in range(rounds):
        begun = time.process_time()
        tracker.follow(
            seen.boxes / np.array([width, height, width, height]),
            seen.class_ids,
            seconds=1 / FPS,
            pixel=(1 / width, 1 / height),
            ids=seen.ids,
        )
        taken.append(time.process_time() - begun)
    return round(1000 * float(np.median(taken)), 3)


if __name__ == "__main__":
    main()
