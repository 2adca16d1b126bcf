"""``roadcast-train degrade``: write a data set again with its frames spoilt, to train or score on."""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perception.errors import ConfigError, OutputError

if TYPE_CHECKING:
    from perception.types import Image
    from training.data.datasets import Pair

KINDS = ("gaussian", "shot", "jpeg", "rain", "lowlight", "dark", "blur")


def add_parser(commands: Any) -> None:
    """Add the command to the parser of ``roadcast-train``."""
    parser = commands.add_parser(
        "degrade",
        help="write a data set with its frames spoilt",
        description="Write frames spoilt by a documented model (docs/enhancement.md) as PNG, with their labels and "
        "instance maps and in the folder layout of the data set, so that OUT is a data set of the same kind.",
    )
    parser.add_argument("out", type=Path, metavar="OUT", help="folder to write; must not exist")
    parser.add_argument("--data", required=True, metavar="KIND:DIR[:SPLIT]", help="the frames")
    parser.add_argument("--by", required=True, choices=KINDS, help="what spoils them")
    parser.add_argument("--strength", type=float, metavar="X", help="by how much (default: as in the published tables)")
    parser.add_argument("--spread", action="store_true", help="draw the strength for each frame as training does")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="another one gives other noise (default: 0)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write the data set; returns the exit code."""
    if args.out.exists():
        raise ConfigError(f"{args.out} exists already: name a folder that does not, or remove it.")
    if args.spread and args.strength is not None:
        raise ConfigError("--spread draws the strength of each frame: leave out --strength.")
    import numpy as np

    from training.data.datasets import open_dataset, read_image
    from training.data.degrade import degradation

    kind = degradation(args.by)
    low, high = kind.possible
    if args.strength is not None and not low <= args.strength <= high:
        raise ConfigError(f"The strength of {args.by} must lie in {low:g}..{high:g}, got {args.strength:g}.")
    pairs = open_dataset(args.data, labelled=False)
    if any(pair.frame is not None for pair in pairs):
        raise ConfigError(f"{args.data!r} is rendered as it is read: write it with `roadcast-train synth` first.")
    root = Path(args.data.split(":")[1])
    part = args.out.with_name(f".{args.out.name}.part")  # a data set cut short would pass for a smaller one
    try:
        shutil.rmtree(part, ignore_errors=True)
        for number, pair in enumerate(pairs):
            random = np.random.default_rng([args.seed, number])
            strength = kind.strength if args.strength is None else args.strength
            spoilt = kind.spoil(read_image(pair), kind.draw(random) if args.spread else strength, random)
            _write(pair, spoilt, root, part)
        part.rename(args.out)
    except OSError as error:
        raise OutputError(f"Cannot write {args.out}: {error.strerror}.") from None
    finally:
        shutil.rmtree(part, ignore_errors=True)
    print(f"wrote {len(pairs)} frames to {args.out}")
    return 0


def _write(pair: Pair, spoilt: Image, root: Path, out: Path) -> None:
    """Write a frame, and copy what belongs to it, to where it lies under ``root``. Raises OSError."""
    import cv2

    from training.data.instances import has_instances, instance_path

    target = out / pair.image.relative_to(root).with_suffix(".png")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(cv2.imencode(".png", spoilt)[1].tobytes())
    for path in [pair.labels, *([instance_path(pair)] if has_instances(pair) else [])]:
        if path.exists():
            copy = out / path.relative_to(root)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
