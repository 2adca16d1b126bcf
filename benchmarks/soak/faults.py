"""The faults of the soak. Each does its harm, waits for the answer, and notes what is wrong with it."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import zmq
from answers import RECOVERY_S, Outcome, Soak, expect_absence, expect_return, first_frame
from cast import Camera, Reader

from perception.errors import RoadcastError
from perception.recording.reader import Recording

sys.path.append(str(Path(__file__).parents[1]))
from hostile import throw, wild_bytes, wild_request

FRESH_MS = 1000.0
SUBSCRIBER_STOPPED_S = 4.0
DISK_BYTES = 400_000
HOSTILE_CONNECTIONS, HOSTILE_REQUESTS = 30, 100
CLOCK_STEPS_S = (3600.0, -86_400.0, 0.5, 0.0)


def kill_capture(soak: Soak) -> Outcome:
    """kill -9 of one of the node's capturing processes."""
    captures, at_s = soak.node.captures, time.monotonic()
    outcome = Outcome("kill capture", "", at_s)
    if not outcome.check(len(captures) == len(soak.cameras), f"{len(captures)} captures run"):
        return outcome
    with suppress(ProcessLookupError):
        os.kill(captures[soak.rounds % len(captures)], signal.SIGKILL)
    expect_absence(soak, outcome, None, "killed by signal 9", RECOVERY_S)
    if outcome.target:
        expect_return(soak, outcome, at_s)
    return outcome


def freeze_camera(soak: Soak) -> Outcome:
    """SIGSTOP of a camera: connected, but silent."""
    camera = soak.cameras[soak.rounds % len(soak.cameras)]
    outcome = Outcome("freeze camera", camera.stream, time.monotonic())
    camera.signal(signal.SIGSTOP)
    expect_absence(soak, outcome, camera.stream, "has frozen", soak.stall_s + RECOVERY_S)
    time.sleep(1.0)
    camera.signal(signal.SIGCONT)
    expect_return(soak, outcome, time.monotonic())
    return outcome


def camera_dies(soak: Soak) -> Outcome:
    """A camera is gone for two seconds, and comes back at the same address."""
    camera = soak.cameras[(soak.rounds + 1) % len(soak.cameras)]
    outcome = Outcome("camera dies", camera.stream, time.monotonic())
    camera.kill()
    expect_absence(soak, outcome, camera.stream, "", soak.stall_s + RECOVERY_S)
    time.sleep(2.0)
    camera.start()
    expect_return(soak, outcome, time.monotonic())
    return outcome


def stop_subscriber(soak: Soak) -> Outcome:
    """SIGSTOP of a subscriber: nobody else may notice, and woken it is up to date soon and knows what it lost."""
    outcome = Outcome("stop subscriber", "", time.monotonic())
    lost = soak.witness.lost
    soak.reader.process.send_signal(signal.SIGSTOP)
    time.sleep(SUBSCRIBER_STOPPED_S)
    soak.reader.process.send_signal(signal.SIGCONT)
    woken_s = time.monotonic()

    def fresh() -> bool:
        return soak.reader.heard_s > woken_s + 0.1 and soak.reader.said["age_ms"] < FRESH_MS

    if outcome.check(soak.witness.wait(fresh, RECOVERY_S), f"no frame younger than {FRESH_MS:g} ms after waking"):
        outcome.recovery_s = time.monotonic() - woken_s
        outcome.answer = "up to date again; what it lost it knows from seq"
    outcome.check(soak.witness.lost == lost, f"another subscriber lost {soak.witness.lost - lost} messages")
    return outcome


def restart_subscriber(soak: Soak) -> Outcome:
    """kill -9 of a subscriber, and a new one in its place."""
    outcome = Outcome("restart subscriber", "", time.monotonic())
    soak.reader.kill()
    left = soak.witness.wait(lambda: _subscribers(soak) == 1, RECOVERY_S)
    outcome.check(left, f"status still counts {_subscribers(soak)} subscribers")
    soak.reader = Reader(soak.node.endpoint)
    began_s = time.monotonic()
    served = soak.witness.wait(lambda: _subscribers(soak) == 2 and bool(soak.reader.said), 2 * RECOVERY_S)
    if outcome.check(served, f"status counts {_subscribers(soak)} subscribers, the new one got {soak.reader.said}"):
        outcome.recovery_s = time.monotonic() - began_s
        outcome.answer = "subscribers in status: 2, 1, 2"
    return outcome


def corrupt_packets(soak: Soak) -> Outcome:
    """Hostile peers at the node's port, and a camera that sends broken pictures or noise."""
    cameras = [camera for camera in soak.cameras if camera.kind == "mjpeg"]
    camera = cameras[soak.rounds % len(cameras)]
    outcome = Outcome("corrupt packets", camera.stream, time.monotonic(), hurt=frozenset({camera.stream}))
    before = _decode_errors(soak, camera)
    camera.signal(signal.SIGUSR2 if soak.rounds // len(cameras) % 2 else signal.SIGUSR1)
    _attack_port(soak)

    def answered() -> bool:
        seen = soak.witness.event("recovered", outcome.at_s, camera.stream)
        return seen is not None or _decode_errors(soak, camera) > before

    if outcome.check(soak.witness.wait(answered, 2 * RECOVERY_S), "no decode_error in the ledger and no event"):
        recovered = soak.witness.event("recovered", outcome.at_s, camera.stream)
        outcome.answer = "reconnecting, recovered" if recovered else "decode_error in the ledger"
    good_s = time.monotonic()
    first_frame(soak, outcome, camera.stream, good_s)
    return outcome


def step_clock(soak: Soak) -> Outcome:
    """The node's wall clock jumps; nothing but the wall times in the messages may change."""
    step_s = CLOCK_STEPS_S[soak.rounds % len(CLOCK_STEPS_S)]
    outcome = Outcome("clock step", f"to {step_s:+g} s", time.monotonic())
    soak.node.step_clock(step_s)

    def seen() -> bool:
        return all(abs(seen.wall_offset_s - step_s) < 0.25 for seen in soak.witness.seen.values())

    if outcome.check(soak.witness.wait(seen, RECOVERY_S), "the step does not show in published_ns"):
        outcome.answer = "published_ns follows, nothing else"
    time.sleep(max(0.0, outcome.at_s + soak.stall_s + 1 - time.monotonic()))
    return outcome


def fill_disk(soak: Soak) -> Outcome:
    """A recorder whose disk has room for a second or two."""
    path = soak.folder / "full.mcap"
    outcome = Outcome("disk full", "", time.monotonic())
    command = [sys.executable, "-m", "perception", "record", soak.node.endpoint, "-o", str(path)]
    done = subprocess.run(
        [*command, "--stream", "all", "--overwrite"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (DISK_BYTES, DISK_BYTES)),
    )
    said = done.stderr.strip().splitlines()[-1:]
    outcome.check(done.returncode == 3 and "Cannot go on writing" in done.stderr, f"exit {done.returncode}: {said}")
    try:
        with Recording(path) as recording:
            count = sum(message.kind == "labels" for message in recording.messages())
            outcome.check(recording.closed and count > 0, f"index {recording.closed}, {count} label maps")
            outcome.answer = "exit 3 and a sentence; the file is whole, with its index"
    except (RoadcastError, OSError) as error:
        outcome.check(False, f"the file does not open: {error}")
    path.unlink(missing_ok=True)
    return outcome


FAULTS: tuple[Callable[[Soak], Outcome], ...] = (
    kill_capture,
    freeze_camera,
    stop_subscriber,
    restart_subscriber,
    corrupt_packets,
    step_clock,
    fill_disk,
    camera_dies,
)


def _attack_port(soak: Soak) -> None:
    port = int(soak.node.endpoint.rpartition(":")[2])
    for _ in range(HOSTILE_CONNECTIONS):
        throw(port, wild_bytes(soak.chance))
    with zmq.Context() as context, context.socket(zmq.XSUB) as peer:
        peer.linger = 500
        peer.connect(soak.node.endpoint)
        for _ in range(HOSTILE_REQUESTS):
            with suppress(zmq.Again):
                peer.send_multipart(wild_request(soak.chance), zmq.NOBLOCK)


def _subscribers(soak: Soak) -> int:
    return max(seen.subscribers for seen in soak.witness.seen.values())


def _decode_errors(soak: Soak, camera: Camera) -> int:
    dropped = soak.witness.seen[camera.stream].ledger.get("dropped", {})
    return int(dropped.get("decode_error", 0))
