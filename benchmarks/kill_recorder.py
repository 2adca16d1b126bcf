"""kill -9 of a recorder at random moments: does every file open, and how much of the end is missing?

    python benchmarks/kill_recorder.py [--kills 20] [--seed 1] [--source VIDEO] [--engine auto] [--out FILE]

One node publishes in real time; recorder after recorder subscribes to it and is killed after 1 to 8 seconds. Each
file is read as it was left, repaired, and read once more through its new index. A subscriber beside the recorder knows
what was published: missing is the time from the first label map that is not in the file to the kill. Exit code 1 where
a file does not open, is damaged, or lacks more than its last second.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from mcap.reader import SeekingReader

from perception.bench.machine import hardware, software
from perception.bench.result import write
from perception.client import Subscriber
from perception.errors import Timeout
from perception.measure import node
from perception.recording.index import repair
from perception.recording.reader import Recording

SHORTEST_S, LONGEST_S = 1.0, 8.0
ALLOWED_S = 1.0
START_S = 60.0
EMPTY_BYTES = 1000  # the header alone has fewer


def main() -> None:
    """Kill, look, report; exit code 1 where a file does not open or lacks more than its last second."""
    parser = argparse.ArgumentParser(description="Kill recorders at random moments.")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--source", default="synth://street?seed=1&size=640x360&fps=10", help="played in real time")
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    args = parser.parse_args()
    dice = random.Random(args.seed)
    results = []
    settings = {"engine": args.engine, "policy": "drop_oldest", "pace": "real"}
    with tempfile.TemporaryDirectory() as folder:
        endpoint = f"ipc://{folder}/node"
        with _witness(endpoint) as published, node(args.source, endpoint, 10**9, live=True, settings=settings):
            for number in range(args.kills):
                path = Path(folder) / f"{number}.mcap"
                result = _kill(endpoint, path, dice.uniform(SHORTEST_S, LONGEST_S), published)
                results.append(result)
                path.unlink()
                print(
                    f"{number + 1:>3}  killed after {result['recorded_s']:.2f} s: {result['messages']} messages, "
                    f"{result['missing_s']:.3f} s missing, {result['indexed']} found by the repaired index",
                    flush=True,
                )
    worst = max(result["missing_s"] for result in results)
    whole = sum(result["indexed"] == result["messages"] and not result["damaged"] for result in results)
    print(f"{whole} of {args.kills} files open and repair; at most {worst:.3f} s are missing")
    if args.out:
        report = {
            "command": f"python benchmarks/kill_recorder.py --kills {args.kills} --seed {args.seed}",
            "source": args.source,
            "date": time.strftime("%Y-%m-%d"),
            "machine": hardware(),
            "software": software(),
            "open_and_repaired": whole,
            "most_missing_s": worst,
            "kills": results,
        }
        write(args.out, report)
    sys.exit(int(whole < args.kills or worst > ALLOWED_S))


@contextmanager
def _witness(endpoint: str) -> Iterator[Mapping[int, int]]:
    """When each label map was published, Unix nanoseconds by seq; it grows while inside."""
    published: dict[int, int] = {}
    stop = threading.Event()

    def watch() -> None:
        with Subscriber(endpoint, kinds=("labels",), timeout=0.5) as subscriber:
            while not stop.is_set():
                try:
                    message = subscriber.receive()
                except Timeout:
                    continue
                if message.kind == "labels":
                    published[message.header.seq] = message.header.time.published_ns

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield published
    finally:
        stop.set()
        thread.join()


def _kill(endpoint: str, path: Path, after_s: float, published: Mapping[int, int]) -> dict[str, float]:
    """Record for so long after the first chunk was written, kill, and see what is left."""
    recorder = subprocess.Popen(
        [sys.executable, "-m", "perception", "record", endpoint, "-o", str(path), "--timeout", str(START_S)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        deadline = time.monotonic() + START_S
        while not path.exists() or path.stat().st_size < EMPTY_BYTES:
            if recorder.poll() is not None or time.monotonic() > deadline:
                assert recorder.stderr is not None
                recorder.kill()
                raise SystemExit(f"The recorder wrote nothing: {recorder.stderr.read()}")
            time.sleep(0.01)
        time.sleep(after_s)
    finally:
        recorder.kill()
        killed_ns = time.time_ns()
        recorder.communicate()
    with Recording(path) as recording:
        messages = list(recording.messages())
    last = max((message.header.seq for message in messages if message.kind == "labels"), default=-1)
    absent_ns = [at for seq, at in list(published.items()) if seq > last and at < killed_ns]
    damaged = len(repair(path).damaged)
    with path.open("rb") as file:
        found = sum(
            channel.message_encoding == "msgpack"
            for _, channel, _ in SeekingReader(file, validate_crcs=True).iter_messages()
        )
    return {
        "recorded_s": after_s,
        "messages": len(messages),
        "missing_s": (killed_ns - min(absent_ns, default=killed_ns)) / 1e9,
        "indexed": found,
        "damaged": damaged,
    }


if __name__ == "__main__":
    main()
