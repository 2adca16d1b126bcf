"""``roadcast bench --batch``: one network on one engine, at several sizes and batches."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

from perception.cli import INTERRUPTED
from perception.errors import ConfigError
from perception.types import Size

BATCHES, SIDE, SECONDS = (1, 256), (32, 8192), (0.05, 600.0)
USUAL_S = 3.0


def run_networks(args: argparse.Namespace) -> int:
    """Measure, print a table or JSON, keep the result; returns the exit code.

    Raises:
        RoadcastError: something cannot be measured as asked, or failed.
    """
    from perception.bench.networks import NetworksWish, bench_networks, networks_table
    from perception.bench.result import to_text, write
    from perception.engines.shipped import DEFAULT_MODEL, model_file
    from perception.files import check_folder
    from perception.terminal import StatusLine

    for flag, value in (("SOURCE", args.source), ("--rate", args.rate), ("--frames", args.frames)):
        if value is not None:
            raise ConfigError(f"With --batch only the network is measured: leave {flag} out.")
    seconds = USUAL_S if args.seconds is None else args.seconds
    if not SECONDS[0] <= seconds <= SECONDS[1]:
        raise ConfigError(f"--seconds must lie in {SECONDS[0]:g}..{SECONDS[1]:g}, got {seconds:g}.")
    if args.out:
        check_folder(Path(args.out))
    wish = NetworksWish(
        model=model_file(args.model) if args.model else DEFAULT_MODEL,
        engine=args.engine or "onnxruntime",
        sizes=[_size(text) for text in (args.size or "1024x512").split(",")],
        batches=[_batch(text) for text in args.batch.split(",")],
        seconds=seconds,
        peak=_peak(args.peak),
        command="roadcast bench " + " ".join(Path(word).name or word for word in sys.argv[2:]),
    )
    line = StatusLine(sys.stderr)
    try:
        result = bench_networks(wish, lambda text: line.show(text, key="network"))
    except KeyboardInterrupt:
        line.note("roadcast: interrupted; what was measured is thrown away")
        return INTERRUPTED
    finally:
        line.clear()
    print(to_text(result).rstrip() if args.json else networks_table(result), flush=True)
    if args.out:
        write(Path(args.out), result)
    return 0


def _size(text: str) -> Size:
    match = re.fullmatch(r"(\d{1,5})x(\d{1,5})", text)
    if match is None or not all(SIDE[0] <= int(side) <= SIDE[1] for side in match.groups()):
        raise ConfigError(f"With --batch, --size takes WxH,WxH... with sides of {SIDE[0]}..{SIDE[1]}; got {text!r}.")
    return int(match[1]), int(match[2])


def _batch(text: str) -> int:
    if not re.fullmatch(r"\d{1,4}", text) or not BATCHES[0] <= int(text) <= BATCHES[1]:
        raise ConfigError(f"--batch takes whole numbers of {BATCHES[0]}..{BATCHES[1]} such as 1,4,8; got {text!r}.")
    return int(text)


def _peak(text: str | None) -> tuple[float, float]:
    if text is None:
        return 0.0, 0.0
    try:
        tflops, gbps = map(float, text.split(","))
    except ValueError:
        tflops = gbps = 0.0
    if not (0 < tflops < 1e6 and 0 < gbps < 1e6):
        raise ConfigError(f"--peak takes TFLOP/s and GB/s such as 60,300; got {text!r}.")
    return tflops, gbps
