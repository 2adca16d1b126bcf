"""The same label maps through imagezmq, vidgear's NetGear and our publisher, to a subscriber in another process.

    python benchmarks/peers/publish.py [--rounds 5] [--video CLIP.mp4] [--out FILE.json]

Per contestant and round: COUNT maps at RATE a second over loopback for latency, as many through a line of 1 Gbit/s
that counts bytes, and as many as fast as it goes. The rounds go over all contestants in turn; medians over rounds are
given.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from socket import create_server
from typing import Any

import numpy as np
from contestants import LOSSLESS, LOSSY
from maps import label_maps
from relay import Relay

from perception.bench.machine import hardware, software
from perception.files import write_whole

HERE = Path(__file__).parent
SIZES = ((1024, 512), (2048, 1024))
RATE = 30.0
COUNT, WARM_UP = 150, 10
LINE = 1e9  # bits a second of the line between two machines
PATIENCE_S = 120.0
Figures = dict[str, float]


@dataclass(frozen=True)
class Run:
    """What sender and receiver saw, and the bytes that went over the line, if there was one."""

    began: list[int]  # ns at which each map was handed over
    got: list[tuple[int, int, bool]]  # number, ns at which the array was there, whether it is the one that was sent
    carried: int

    def ages_ms(self) -> tuple[float, float]:
        """Median and 99th percentile from hand-over to array, without the first."""
        ages = [(at - self.began[number]) / 1e6 for number, at, _ in self.got if number >= WARM_UP]
        p50, p99 = np.percentile(ages, (50, 99)).tolist()
        return p50, p99


def main() -> None:
    """Run all, print a table, keep the JSON."""
    parser = argparse.ArgumentParser(description="Publish label maps through three libraries.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--count", type=int, default=COUNT, help=f"maps of a run (default: {COUNT})")
    parser.add_argument("--video", type=Path, help="real frames: adds maps of the default model to the exact ones")
    parser.add_argument("--work", type=Path, default=Path("out/peers-maps"))
    parser.add_argument("--out", type=Path, help="keep the figures as JSON")
    args = parser.parse_args()
    results: dict[str, dict[str, Figures]] = {}
    for kind in ("truth", "model") if args.video else ("truth",):
        for size in SIZES:
            title = f"{kind} {size[0]}x{size[1]}"
            results[title] = _contest(title, label_maps(kind, size, args.work, video=args.video), args)
            _print(title, results[title])
    if args.out:
        packages = {name: version(name) for name in ("imagezmq", "vidgear", "simplejpeg")}
        document = {"hardware": hardware(), "software": software(), "peers": packages, "rate": RATE}
        document |= {"count": args.count, "rounds": args.rounds, "results": results}
        write_whole(args.out, json.dumps(document, indent=1) + "\n")


def _contest(title: str, maps: Path, args: argparse.Namespace) -> dict[str, Figures]:
    names = (*LOSSLESS, *LOSSY)
    rounds: dict[str, list[Figures]] = {name: [] for name in names}
    for number in range(args.rounds):
        for name in names:
            print(f"{title}: round {number + 1}, {name}", file=sys.stderr, flush=True)
            near = _run(name, maps, args.count, RATE)
            far = _run(name, maps, args.count, RATE, relayed=True)
            fast = _run(name, maps, args.count, 0.0)
            rounds[name].append(_paced(near) | _flat_out(fast) | _over_line(far))
    return {name: _medians(found) for name, found in rounds.items()}


def _run(name: str, maps: Path, count: int, rate: float, *, relayed: bool = False) -> Run:
    """One sender and one receiver; ``relayed`` puts the line of LINE between them."""
    port, other = _free_port(), _free_port()
    # NetGear's receiver binds and its sender connects; with the others it is the other way round.
    bound, connected = (port, other) if relayed else (port, port)
    sends, receives = (connected, bound) if name.startswith("netgear") else (bound, connected)
    relay = Relay(connected, bound, LINE) if relayed else None
    program = [sys.executable, str(HERE / "contestants.py")]
    check = "check" if rate else "count"
    words = [name, str(receives), str(maps), str(count), check]
    pipe = subprocess.PIPE
    with subprocess.Popen([*program, "receive", *words], stdout=pipe, stderr=subprocess.DEVNULL, text=True) as reader:
        assert reader.stdout is not None
        while "ready" not in reader.stdout.readline():
            pass
        words = [name, str(sends), str(maps), str(count), str(rate)]
        with subprocess.Popen(
            [*program, "send", *words], stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True
        ) as writer:
            got = _json_of(reader.communicate(timeout=PATIENCE_S)[0])
            began = _json_of(writer.communicate("done\n", timeout=PATIENCE_S)[0])
    carried = 0
    if relay:
        relay.close()
        carried = max(relay.carried)
    return Run(began["began"], got["got"], carried)


def _json_of(said: str) -> Any:
    """The line of JSON among what the libraries print."""
    return json.loads(next(line for line in said.splitlines() if line.startswith('{"')))


def _paced(run: Run) -> Figures:
    p50, p99 = run.ages_ms()
    equal = sum(equal for *_, equal in run.got) / len(run.got)
    return {"p50_ms": p50, "p99_ms": p99, "lost": len(run.began) - len(run.got), "equal": equal}


def _over_line(run: Run) -> Figures:
    p50, p99 = run.ages_ms()
    lost = len(run.began) - len(run.got)
    return {"bytes": run.carried / len(run.got), "line_p50_ms": p50, "line_p99_ms": p99, "line_lost": lost}


def _flat_out(run: Run) -> Figures:
    seconds = (run.got[-1][1] - run.began[0]) / 1e9
    return {"per_second": len(run.got) / seconds, "flat_out_lost": len(run.began) - len(run.got)}


def _medians(rounds: list[Figures]) -> Figures:
    return {key: round(statistics.median(figures[key] for figures in rounds), 3) for key in rounds[0]}


def _free_port() -> int:
    with create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def _print(title: str, figures: dict[str, Figures]) -> None:
    columns = ("bytes", "p50_ms", "p99_ms", "line_p50_ms", "line_p99_ms", "per_second", "lost", "flat_out_lost")
    print(f"\n{title:18}" + "".join(f"{column:>14}" for column in columns) + f"{'equal':>7}")
    for name, row in figures.items():
        numbers = "".join(f"{row[column]:14.{2 if column.endswith('ms') else 0}f}" for column in columns)
        print(f"{name:18}{numbers}{row['equal']:7.0%}")


if __name__ == "__main__":
    main()
