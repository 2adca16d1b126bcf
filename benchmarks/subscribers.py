"""Does a node in real time keep its rate with a hundred subscribers, and what do they cost it?

    python benchmarks/subscribers.py [--subscribers 100] [--source VIDEO] [--frames 300] [--rounds 3] [--processes 4]
                                     [--size 256x128] [--engine auto] [--out FILE]

The node publishes a clip over TCP on loopback with ``--pace real``, to one subscriber and to many in turn, in the
opposite order every other round. As it is the node that is measured, many sockets share a few processes, which count
what comes and look no further; one socket of each reads headers, for the age of the frames. Exit code 1 where the
node published less than 99 in a hundred of the clip's rate, or a subscriber lost a label map.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import zmq

from perception.bench.clip import prepare_clip
from perception.bench.machine import Load, hardware, software
from perception.bench.result import write
from perception.measure import node
from perception.sources import open_source
from perception.terminal import StatusLine

KEPT = 0.99  # of the clip's rate
PATIENCE_S = 120
TOPICS = (b"front/labels/", b"front/objects/", b"front/event/")
PORT = 5689

Figures = dict[str, float]


def main() -> None:
    """Run the rounds, print the table, write the JSON; the readers are this file with ``--reader``."""
    parser = argparse.ArgumentParser(description="Measure a node with one subscriber and with many.")
    parser.add_argument("--subscribers", type=int, default=100)
    parser.add_argument("--source", help="a video (default: a rendered street of 30 frames a second)")
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--processes", type=int, default=4, help="that the subscribers share (default: 4)")
    parser.add_argument("--size", default="256x128", help="of the network's input (default: 256x128)")
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    parser.add_argument("--reader", nargs=2, metavar=("ENDPOINT", "SOCKETS"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.reader:
        print(json.dumps(_read(args.reader[0], int(args.reader[1]))))
        return
    line, load = StatusLine(sys.stderr), Load.now()
    clip = prepare_clip(args.source, args.frames, line.show)
    fps = open_source(str(clip.path)).fps or 0.0
    rounds: dict[int, list[Figures]] = {1: [], args.subscribers: []}
    for number in range(args.rounds):
        for count in sorted(rounds, reverse=bool(number % 2)):
            line.show(f"round {number + 1} of {args.rounds}: {count} subscribers", key=f"{number} {count}")
            rounds[count].append(_measure(clip.path, count, args))
    line.clear()
    now = Load.now()
    others = now.others_since(load) if now and load else None
    medians = {count: _medians(figures) for count, figures in rounds.items()}
    kept = min(figures["fps"] for figures in rounds[args.subscribers]) / fps
    lost = sum(figures["lost"] for figures in rounds[args.subscribers])
    print(f"the clip has {fps:.2f} frames a second; medians of {args.rounds} rounds")
    print(f"{'':16}{'fps':>8}{'p50 ms':>8}{'p99 ms':>8}{'age p50':>9}{'age p99':>9}{'core-ms':>9}{'MB':>7}{'lost':>6}")
    for count, found in medians.items():
        names = ("fps", "p50_ms", "p99_ms", "age_p50_ms", "age_p99_ms", "core_ms_per_frame", "resident_mb", "lost")
        widths = (8, 8, 8, 9, 9, 9, 7, 6)
        digits = (2, 2, 2, 2, 2, 2, 0, 0)
        print(f"{count:4} subscribers" + "".join(f"{found[n]:{w}.{d}f}" for n, w, d in zip(names, widths, digits)))
    print(f"with {args.subscribers}: at least {100 * kept:.2f} % of the clip's rate, {lost:.0f} label maps lost")
    if args.out:
        result = {
            "command": f"python benchmarks/subscribers.py --subscribers {args.subscribers} --frames {args.frames} "
            f"--rounds {args.rounds} --size {args.size} --engine {args.engine}",
            "date": time.strftime("%Y-%m-%d"),
            "machine": hardware(),
            "software": software(),
            "others": others,
            "clip": {"name": clip.name, "fps": fps},
            "medians": {str(count): found for count, found in medians.items()},
            "rounds": {str(count): figures for count, figures in rounds.items()},
        }
        write(args.out, result)
    sys.exit(int(kept < KEPT or lost > 0))


def _measure(clip: Path, count: int, args: argparse.Namespace) -> Figures:
    """One run with so many subscribers."""
    endpoint = f"tcp://127.0.0.1:{PORT}"
    settings = {
        "pace": "real",
        "policy": "drop_oldest",
        "size": args.size,
        "engine": args.engine,
        "threads": "1",
        "wait-subscribers": str(count),
    }
    shares = [len(range(first, count, args.processes)) for first in range(min(count, args.processes))]
    with ExitStack() as parts:
        readers = []
        for share in shares:
            command = [sys.executable, __file__, "--reader", endpoint, str(share)]
            readers.append(parts.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True)))
            parts.callback(readers[-1].kill)
        child = parts.enter_context(node(str(clip), endpoint, args.frames, live=True, settings=settings))
        said, complaint = child.communicate(timeout=PATIENCE_S)
        if child.returncode:
            raise SystemExit(f"the node failed: {complaint.strip().splitlines()[-1]}")
        heard = [json.loads(reader.communicate(timeout=PATIENCE_S)[0]) for reader in readers]
    summary = json.loads(said)
    ages = [age for reading in heard for age in reading["ages_ms"]]
    received = [count for reading in heard for count in reading["received"]]
    published = summary["frames"]["published"]
    return {
        "fps": summary["fps"],
        "p50_ms": summary["latency_ms"]["p50"],
        "p99_ms": summary["latency_ms"]["p99"],
        "publish_p50_ms": summary["stages_ms"]["publish"]["p50"],
        "publish_p99_ms": summary["stages_ms"]["publish"]["p99"],
        "age_p50_ms": float(np.percentile(ages, 50)),
        "age_p99_ms": float(np.percentile(ages, 99)),
        "core_ms_per_frame": summary["process"]["core_ms_per_frame"],
        "resident_mb": summary["process"]["resident_mb"],
        "dropped": float(sum(summary["frames"]["dropped"].values())),
        "lost": float(sum(published - came for came in received)),
    }


def _read(endpoint: str, sockets: int) -> dict[str, Any]:
    """Count label maps on every socket until each has heard the end; ages of the first socket's."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    context.set(zmq.MAX_SOCKETS, sockets + 10)
    received = [0] * sockets
    ages_ms: list[float] = []
    poller, numbers = zmq.Poller(), {}
    for number in range(sockets):
        socket = context.socket(zmq.SUB)
        socket.setsockopt(zmq.RECONNECT_IVL, 50)
        for topic in TOPICS:
            socket.subscribe(topic)
        socket.connect(endpoint)
        poller.register(socket, zmq.POLLIN)
        numbers[socket] = number
    while numbers:
        for socket, _ in poller.poll(PATIENCE_S * 1000):
            number = numbers[socket]
            topic, header, *_ = socket.recv_multipart()
            if topic == TOPICS[0]:
                received[number] += 1
                if number == 0:
                    captured_ns = msgpack.unpackb(header)["time"]["captured_mono_ns"]
                    ages_ms.append((time.monotonic_ns() - captured_ns) / 1e6)
            elif topic == TOPICS[2] and msgpack.unpackb(header)["event"]["name"] == "end_of_stream":
                poller.unregister(socket)
                del numbers[socket]
                socket.close(linger=0)
    context.term()
    return {"received": received, "ages_ms": ages_ms}


def _medians(rounds: list[Figures]) -> Figures:
    return {name: statistics.median(figures[name] for figures in rounds) for name in rounds[0]}


if __name__ == "__main__":
    main()
