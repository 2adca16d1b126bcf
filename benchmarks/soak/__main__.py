"""An hour of faults: four cameras, a node, subscribers, and something breaks every ten seconds.

    python benchmarks/soak [--minutes 60] [--fps 5] [--size 128x64] [--seed 1] [--out FOLDER]

The cameras play rendered streets over and over in real time: one over GStreamer's RTSP server, one over another RTSP
server, two as JPEGs over HTTP. One subscriber audits every message; another one is stopped and killed. After every
fault it is asked whether the right event came, whether the camera was back within five seconds, and whether anybody
else noticed. At the end: ledger, audit, growth of memory, open files and threads. Exit code 1 where a bar is missed.
SIGINT and SIGTERM end it early, with the report. ``--out`` gets ``soak.json`` and ``soak.md``.

It takes a quarter of a core. On a machine that others use, ``chrt -r 1 python benchmarks/soak`` (as root) lets it have
that in time; a fault in whose time they waited for a processor, or for bytes on loopback, is not judged, and counted
as such.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from answers import Outcome, Soak, judge_bystanders
from busy import Pulse, Stolen, Waiting
from cast import Camera, Node, Reader
from faults import FAULTS
from report import judge, page, plain
from usage import Sample, look
from witness import Witness

from perception.bench.machine import Load, hardware, software
from perception.bench.result import write
from perception.files import write_whole
from perception.synth import Street
from perception.terminal import StatusLine

PERIOD_S = 10.0  # between two faults
WARM_UP_SHARE = 6  # the first sixth of the run
PICTURE_SIZE = (320, 180)
PICTURES = 50
STREAMS = {"front": "gstreamer", "rear": "rtsp", "left": "mjpeg", "right": "mjpeg"}
START_S = 120.0


def main() -> None:
    """Run the soak, write the report, exit 1 where a bar is missed."""
    parser = argparse.ArgumentParser(prog="soak", description="Break everything around a node, and see what it does.")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--fps", type=int, default=5, help="of each camera (default: 5)")
    parser.add_argument("--size", default="128x64", help="of the network's input (default: 128x64)")
    parser.add_argument("--stall-timeout", type=float, default=2.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "results")
    args = parser.parse_args()
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with tempfile.TemporaryDirectory() as name:
        missed = _soak(args, Path(name), stop)
    sys.exit(int(missed))


def _soak(args: argparse.Namespace, folder: Path, stop: threading.Event) -> bool:
    line = StatusLine(sys.stderr)
    load = Load.now()
    with ExitStack() as parts:
        cameras = []
        for number, (stream, kind) in enumerate(STREAMS.items(), args.seed):
            line.show(f"rendering what {stream} sees", key=stream)
            cameras.append(Camera(stream, kind, _pictures(folder / stream, number, args.fps), args.fps))
            parts.callback(cameras[-1].kill)
        node = Node(cameras, folder, stall_s=args.stall_timeout, size=args.size)
        parts.callback(node.process.kill)
        witness = Witness(node.endpoint)
        soak = Soak(cameras, node, witness, Reader(node.endpoint), folder, args.stall_timeout, random.Random(args.seed))
        parts.callback(lambda: soak.reader.kill())
        _wait_for_all(soak)
        began_s = time.monotonic()
        outcomes, samples = _break_things(soak, began_s, 60 * args.minutes, stop, line)
        minutes = (time.monotonic() - began_s) / 60
        samples.append(look(node, began_s))
        exit_code, summary, complaint = node.end()
        witness.finish(START_S)
    line.clear()
    if complaint:
        print(complaint, file=sys.stderr)
    bars = judge(outcomes, samples, 60 * minutes / WARM_UP_SHARE, witness, summary, exit_code)
    ages = np.percentile(witness.ages_ms or [0.0], (50, 99)).tolist()
    now = Load.now()
    result = {
        "command": f"python benchmarks/soak --minutes {args.minutes:g} --fps {args.fps} --size {args.size}",
        "date": time.strftime("%Y-%m-%d"),
        "minutes": minutes,
        "warm_up_minutes": minutes / WARM_UP_SHARE,
        "scene": f"Four cameras of {PICTURE_SIZE[0]}x{PICTURE_SIZE[1]} at {args.fps} frames a second "
        f"({', '.join(f'{stream}: {kind}' for stream, kind in STREAMS.items())}), network {args.size}, "
        f"stall_timeout {args.stall_timeout:g} s, a fault every {PERIOD_S:g} s; growth is judged after "
        f"{minutes / WARM_UP_SHARE:.1f} minutes of warm-up.",
        "scheduling": "real-time" if os.sched_getscheduler(0) != os.SCHED_OTHER else f"nice {os.nice(0)}",
        "machine": hardware(),
        "software": software(),
        "cpu_cores": (samples[-1].cpu_s - samples[0].cpu_s) / max(1.0, samples[-1].at_s - samples[0].at_s),
        "others": now.others_since(load) if now and load else None,
        "age_ms": {"p50": ages[0], "p99": ages[1]},
        **plain(outcomes, samples, bars),
        "node": summary,
    }
    text = page(result, bars, outcomes)
    print(text)
    args.out.mkdir(parents=True, exist_ok=True)
    write(args.out / "soak.json", result)
    write_whole(args.out / "soak.md", text)
    return any(bar.met is False for bar in bars)


def _pictures(folder: Path, seed: int, fps: int) -> Path:
    """A street as JPEGs 000.jpg, 001.jpg, ... and as the transport stream clip.ts."""
    folder.mkdir()
    street = Street(seed, PICTURE_SIZE, float(fps))
    with av.open(str(folder / "clip.ts"), "w", format="mpegts") as container:
        video = container.add_stream("libx264", rate=Fraction(fps), options={"g": str(fps), "bf": "0", "crf": "28"})
        video.width, video.height = PICTURE_SIZE
        video.pix_fmt = "yuv420p"
        for number in range(PICTURES):
            image = street.render(number).image
            cv2.imwrite(str(folder / f"{number:03}.jpg"), image)
            container.mux(video.encode(av.VideoFrame.from_ndarray(image, format="bgr24")))
        container.mux(video.encode(None))
    return folder


def _wait_for_all(soak: Soak) -> None:
    """Until every camera's frames have come, and both subscribers are counted."""
    witness = soak.witness

    def here() -> bool:
        if soak.node.process.poll() is not None:
            raise SystemExit(f"The node ended:\n{soak.node.log.read_text()}")
        return len(witness.seen) == len(soak.cameras) and all(
            seen.frames > 5 and seen.subscribers == 2 for seen in witness.seen.values()
        )

    if not witness.wait(here, START_S):
        raise SystemExit(f"Not every camera is there after {START_S:g} s: {dict(witness.seen)} {witness.error or ''}")


def _break_things(
    soak: Soak, began_s: float, seconds: float, stop: threading.Event, line: StatusLine
) -> tuple[list[Outcome], list[Sample]]:
    """A fault every ten seconds, or as soon as the one before it is over; and a sample before each."""
    outcomes: list[Outcome] = []
    samples: list[Sample] = []
    due_s, waiting, pulse, stolen = began_s, Waiting(), Pulse(), Stolen()
    while not stop.wait(max(0.0, due_s - time.monotonic())):
        if time.monotonic() - began_s >= seconds or soak.node.process.poll() is not None:
            break
        due_s = max(due_s + PERIOD_S, time.monotonic())
        samples.append(look(soak.node, began_s))
        waiting.since_last_s(_all(soak))
        pulse.since_last_s()
        stolen.since_last_s()
        outcome = FAULTS[len(outcomes) % len(FAULTS)](soak)
        judge_bystanders(soak, outcome)
        outcome.waited_s = max(waiting.since_last_s(_all(soak)), pulse.since_last_s(), stolen.since_last_s())
        outcome.at_s -= began_s
        outcomes.append(outcome)
        soak.rounds = len(outcomes) // len(FAULTS)
        bad = sum(outcome.judged and bool(outcome.problems) for outcome in outcomes)
        line.show(f"{outcome.at_s / 60:.1f} min: {len(outcomes)} faults, {bad} not answered as they should be")
        for problem in outcome.problems:
            line.note(f"{outcome.at_s:.0f} s, {outcome.fault} {outcome.target}: {problem}")
    pulse.close()
    return outcomes, samples


def _all(soak: Soak) -> list[int]:
    """Process ids of who has to be in time."""
    cameras = [camera.process.pid for camera in soak.cameras]
    return [os.getpid(), soak.node.process.pid, *soak.node.captures, soak.reader.process.pid, *cameras]


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
