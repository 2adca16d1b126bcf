"""The process that reads one live camera: ``python -m perception.sources.capture``, started by LiveCamera.

A blocked read of a camera cannot be interrupted from Python, but a process can be killed. The job comes
as a line of JSON on standard input, so that passwords do not show in the list of processes; pictures go
through a Handover, and what happens is told on standard output: an empty line for a picture, else JSON
with one of the keys ``opened``, ``ended`` or ``failed``. When standard input closes, the node is gone,
and so is this process.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import threading
from dataclasses import asdict, dataclass

import av
from av.codec.context import Flags

from perception.errors import SourceError
from perception.sources.decoding import Grabber
from perception.sources.handover import Handover
from perception.sources.pacing import Paced, Unpaced
from perception.sources.picture import Converter

STDOUT = 1
BACKSTOP = 2  # the node's own watch comes first; these time-outs free a capture whose node was stopped


@dataclass(frozen=True, slots=True)
class Job:
    """What to capture: FFmpeg's address of it, its input format where that cannot be guessed, and how long to wait."""

    address: str
    format: str | None
    transport: str  # of RTSP
    open_s: float
    stall_s: float
    fd: int  # of the Handover

    def to_json(self) -> str:
        """One line."""
        return json.dumps(asdict(self)) + "\n"


def capture(job: Job) -> None:
    """Hand over pictures until the stream ends; raises SourceError or an error of PyAV."""
    handover = Handover(job.fd)
    with av.open(
        job.address,
        format=job.format,
        options=_options(job),
        metadata_errors="replace",
        timeout=(BACKSTOP * job.open_s, BACKSTOP * job.stall_s),
    ) as container:
        if not container.streams.video:
            raise SourceError("it sends no video")
        finite = container.duration is not None and job.format is None
        video = container.streams.video[0]
        video.codec_context.flags |= Flags.low_delay
        rate = video.average_rate or video.guessed_rate
        fps = float(rate) if rate else None
        _tell(opened=fps)
        # A recording on a web server comes as fast as the network; it plays in real time, like a camera.
        pace = Paced(fps, threading.Event().wait) if finite else Unpaced()
        _hand_over(Grabber(container.demux(video), video, pace), handover)
        _tell(ended="complete" if finite else "early")


def _hand_over(grabber: Grabber, handover: Handover) -> None:
    convert = Converter()
    for grabbed in grabber.grabs():
        if grabbed.picture is not None:
            handover.put(convert.image(grabbed.picture), grabbed.time)
            _write(b"\n")
        elif grabber.decoded:  # before the first key frame there is nothing to lose
            handover.fail()
    if grabber.broken_off:
        raise SourceError(f"the connection broke {grabber.damage}")


def _options(job: Job) -> dict[str, str]:
    """Time-outs in microseconds, and low delay.

    Not ``fflags=nobuffer``: it throws away what was read while connecting, and with it the first key
    frame. Decoding that backlog is fast, and only the newest picture is kept. Four frames are enough to
    tell the rate where the stream does not: with FFmpeg's twenty, a camera of 5 frames a second was away for 3 s
    more each time (measured).
    """
    if job.format is not None:
        return {}
    quick = {"fpsprobesize": "4"}
    limit = str(round(BACKSTOP * max(job.open_s, job.stall_s) * 1e6))
    if job.address.lower().startswith("rtsp"):
        # Over UDP a lost packet smears the picture until the next key frame, hence tcp by default.
        return {**quick, "rtsp_transport": job.transport, "timeout": limit, "max_delay": "0"}
    return {**quick, "rw_timeout": limit}


def _tell(**message: object) -> None:
    _write(json.dumps(message).encode() + b"\n")


def _write(line: bytes) -> None:
    # A full pipe means that the node was stopped for long: it finds the newest picture without the news.
    with contextlib.suppress(BlockingIOError):
        os.write(STDOUT, line)


def _die_with_the_node() -> None:
    os.read(0, 1)
    os._exit(0)


def main() -> None:
    """Read the job, capture, and say how it ended."""
    # The node decides when to stop, also when Ctrl-C or a service manager signals all of its processes.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    job = Job(**json.loads(sys.stdin.buffer.readline()))
    threading.Thread(target=_die_with_the_node, daemon=True).start()
    os.set_blocking(STDOUT, False)
    try:
        capture(job)
    except av.FFmpegError as error:
        _tell(failed=error.strerror)
    except Exception as error:  # the node has the only place to report it
        _tell(failed=str(error))


if __name__ == "__main__":
    main()
