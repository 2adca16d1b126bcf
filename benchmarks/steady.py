"""Memory over a long run: resident size of the node after 500 and after 5,000 frames.

    python benchmarks/steady.py [--source VIDEO] [--engine auto] [--frames 5000]

The video must have that many frames; without one, a rendered street is played.
"""

from __future__ import annotations

import argparse
import sys
import tempfile

from perception.bench.clip import prepare_clip
from perception.client import Subscriber
from perception.measure import node
from perception.metrics import resident_mb
from perception.terminal import StatusLine

EARLY_FRAME = 500


def main() -> None:
    """Run once and print the two sizes and their ratio."""
    parser = argparse.ArgumentParser(description="Measure the node's resident memory over a long run.")
    parser.add_argument("--source", help="a long video (default: a rendered street)")
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--frames", type=int, default=5000)
    args = parser.parse_args()
    if args.frames <= EARLY_FRAME + 1:
        raise SystemExit(f"--frames must be above {EARLY_FRAME + 1}, got {args.frames}.")
    line = StatusLine(sys.stderr)
    clip = prepare_clip(args.source, args.frames, line.show)
    line.clear()
    if clip.frames < args.frames:
        raise SystemExit(f"{clip.name} holds {clip.frames} frames, {args.frames} are needed: give --frames or none.")
    sizes: dict[int, float | None] = {}
    with tempfile.TemporaryDirectory() as folder:
        endpoint = f"ipc://{folder}/node"
        with (
            Subscriber(endpoint, kinds=("labels", "objects"), timeout=30.0) as subscriber,
            node(str(clip.path), endpoint, args.frames, live=False, settings={"engine": args.engine}) as child,
        ):
            for scene in subscriber.scenes():
                if scene.number in (EARLY_FRAME, args.frames - 1):
                    sizes[scene.number] = resident_mb(child.pid)
            lost = subscriber.tally.lost
            child.communicate(timeout=30)
    early, late = sizes[EARLY_FRAME], sizes[args.frames - 1]
    if early is None or late is None:
        raise SystemExit("This system does not tell the memory of a process in /proc.")
    print(
        f"resident after {EARLY_FRAME} frames {early:.1f} MB, after {args.frames} frames {late:.1f} MB: "
        f"ratio {late / early:.3f}; lost {lost}, exit code {child.returncode}"
    )


if __name__ == "__main__":
    main()
