"""The whole job on one clip: our node and a subscriber, next to Roboflow's loops around the same ONNX model.

    python benchmarks/peers/video.py --clip CLIP.mp4 --theirs out/peers-video/bin/python [--rounds 5] [--out FILE.json]

The same clip, network size and engine (ONNX Runtime). Ours decodes, infers, cuts out objects and sends label maps and
objects to another process; theirs decodes and infers. ``--theirs`` is the Python of their environment (README.md).
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path

import perception
from perception.bench.machine import hardware, software
from perception.files import write_whole
from perception.measure import measure

MODEL = Path(perception.__file__).parent / "models" / "default.onnx"
WARM_UP = 10  # frames that are not counted, on either side
LOOPS = ("supervision", "inference")


def main() -> None:
    """Rounds over all in turn; medians."""
    parser = argparse.ArgumentParser(description="Our node against Roboflow's video loops.")
    parser.add_argument("--clip", type=Path, required=True)
    parser.add_argument("--theirs", type=Path, required=True, help="the Python of their environment")
    parser.add_argument("--size", default="576x320", help="of the network's input (default: 576x320)")
    parser.add_argument("--frames", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--loop", action="append", choices=LOOPS, help="which of theirs (default: both)")
    parser.add_argument("--out", type=Path, help="keep the figures as JSON")
    args = parser.parse_args()
    loops = args.loop or LOOPS
    rates: dict[str, list[float]] = {name: [] for name in ("node", *loops)}
    for number in range(args.rounds):
        for name in rates:
            print(f"round {number + 1}, {name}", file=sys.stderr, flush=True)
            rates[name].append(_node(args) if name == "node" else _theirs(name, args))
    medians = {name: round(statistics.median(found), 2) for name, found in rates.items()}
    for name, rate in medians.items():
        print(
            f"{name:14}{rate:8.1f} frames a second"
            + ("" if name == "node" else f", node {medians['node'] / rate:.2f}x")
        )
    if args.out:
        document = {"hardware": hardware(), "software": software(), "size": args.size, "frames": args.frames}
        document |= {"clip": args.clip.name, "fps": medians, "rounds": rates}
        write_whole(args.out, json.dumps(document, indent=1) + "\n")


def _node(args: argparse.Namespace) -> float:
    settings = {"engine": "onnxruntime", "size": args.size}
    run = measure(str(args.clip), args.frames, live=False, show=lambda _: None, settings=settings)
    if run.problem:
        raise SystemExit(f"the node failed: {run.problem}")
    return _rate([scene.received_mono_ns for scene in run.scenes])


def _theirs(name: str, args: argparse.Namespace) -> float:
    program = [str(args.theirs), "-W", "ignore", str(Path(__file__).with_name("video_loops.py"))]
    command = [*program, name, str(MODEL), str(args.clip), args.size, str(args.frames)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        last = (done.stderr.strip() or "no reason given").splitlines()[-1]
        raise SystemExit(f"{name} failed: {last} Leave it out with --loop.")
    return _rate(json.loads(done.stdout.splitlines()[-1])["done"])


def _rate(at_ns: list[int]) -> float:
    kept = at_ns[WARM_UP:]
    return (len(kept) - 1) * 1e9 / (kept[-1] - kept[0])


if __name__ == "__main__":
    main()
