"""Memory over a long run: resident size of the node after 500 and after 5,000 frames.

python benchmarks/steady.py [--source VIDEO] [--engine auto] [--frames 5000]
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

from clip import prepare_clip

from perception.client import Subscriber
from perception.measure import node

EARLY_FRAME = 500


def main() -> None:
    """Run once and print the two sizes and their ratio."""
    parser = argparse.ArgumentParser(description="Measure the node's resident memory over a long run.")
    parser.add_argument("--source", help="a video to bring to 1280x720 (default: a rendered street)")
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--frames", type=int, default=5000)
    parser.add_argument("--work", type=Path, default=Path("out/bench"))
    args = parser.parse_args()
    clip = prepare_clip(args.work, args.frames, args.source)
    sizes: dict[int, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        endpoint = f"ipc://{folder}/node"
        with (
            Subscriber(endpoint, kinds=("labels", "objects"), timeout=30.0) as subscriber,
            node(str(clip), endpoint, args.frames, live=False, settings={"engine": args.engine}) as child,
        ):
            for scene in subscriber.scenes():
                if scene.number in (EARLY_FRAME, args.frames - 1):
                    sizes[scene.number] = _resident_mb(child.pid)
            lost = subscriber.tally.lost
            child.communicate(timeout=30)
    early, late = sizes[EARLY_FRAME], sizes[args.frames - 1]
    print(
        f"resident after {EARLY_FRAME} frames {early:.1f} MB, after {args.frames} frames {late:.1f} MB: "
        f"ratio {late / early:.3f}; lost {lost}, exit code {child.returncode}"
    )


def _resident_mb(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


if __name__ == "__main__":
    main()
