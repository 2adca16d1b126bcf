"""``roadcast-train degrade``: write a data set again with its frames spoilt, to train or score on."""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from typing import Any

from perception.errors import ConfigError, OutputError

KINDS = ("gaussian", "shot", "jpeg", "rain", "lowlight", "blur")


def add_parser(commands: Any) -> None:
    """Add the command to the parser of ``roadcast-train``."""
    parser = commands.add_parser(
        "degrade",
        help="write a data set with its frames spoilt",
        description="Write frames spoilt by a documented model (docs/enhancement.md) as PNG, with their labels and in "
        "the folder layout of the data set, so that OUT is a data set of the same kind.",
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
    import cv2
    import numpy as np

    from training.data.datasets import open_dataset, read_image
    from training.data.degrade import degradation

    kind = degradation(args.by)
    low, high = kind.possible
    if args.strength is not None and not low <= args.strength <= high:
        raise ConfigError(f"The strength of {args.by} must lie in {low:g}..{high:g}, got {args.strength:g}.")
    root = Path(args.data.split(":")[1])
    pairs = open_dataset(args.data, labelled=False)
    if any(pair.frame is not None for pair in pairs):
        raise ConfigError(f"{args.data!r} is rendered as it is read: write it with `roadcast-train synth` first.")
    for number, pair in enumerate(pairs):
        random = np.random.default_rng([args.seed, number])
        strength = kind.strength if args.strength is None else args.strength
        spoilt = kind.spoil(read_image(pair), kind.draw(random) if args.spread else strength, random)
        target = args.out / pair.image.relative_to(root).with_suffix(".png")
        _, content = cv2.imencode(".png", spoilt)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content.tobytes())
            if pair.labels.exists():
                labels = args.out / pair.labels.relative_to(root)
                labels.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(pair.labels, labels)
        except OSError as error:
            raise OutputError(f"Cannot write {target}: {error.strerror}.") from None
    print(f"wrote {len(pairs)} frames to {args.out}")
    return 0
