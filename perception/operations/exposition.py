"""A node's figures in Prometheus' text format 0.0.4, all of them from the ledgers and meters of its streams."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import get_args

from perception import __version__
from perception.channel import State
from perception.ledger import DROP_REASONS
from perception.metrics import resident_mb
from perception.operations.board import Board
from perception.summary import LATENCY_BOUNDS_MS, StreamStatus

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
Sample = tuple[Mapping[str, str], float]


def exposition(board: Board) -> str:
    """All figures. Counters begin at 0 with the process, and stay counters over absences of a camera."""
    status = board.status
    streams = status.streams if status else ()
    lines = [
        *_family("roadcast_info", "gauge", "What runs here.", [({"version": __version__, **_model(board)}, 1)]),
        *_family("roadcast_ready", "gauge", "1 from the end of the warm-up to the end.", [({}, board.ready)]),
        *_family("roadcast_alive", "gauge", "0 while the node hangs.", [({}, board.alive)]),
        *_family("roadcast_subscribers", "gauge", "Connected peers.", [({}, status.subscribers if status else 0)]),
        *_family(
            "roadcast_clients_refused_total",
            "counter",
            "Connections without an allowed key.",
            [({}, status.refused if status else 0)],
        ),
        *_family("process_cpu_seconds_total", "counter", "Of this process.", [({}, time.process_time())]),
        *_family("process_resident_memory_bytes", "gauge", "Of this process.", [({}, (resident_mb() or 0) * 1e6)]),
    ]
    for name, kind, text, samples in _of_streams(streams):
        lines += _family(f"roadcast_{name}", kind, text, samples)
    return "\n".join([*lines, *_latency(streams), ""])


def _model(board: Board) -> Mapping[str, str]:
    return board.status.model if board.status else {}


def _of_streams(streams: Iterable[StreamStatus]) -> Iterable[tuple[str, str, str, list[Sample]]]:
    """Name, type, help and samples of what there is once for each stream."""
    named = [({"stream": stream.stream}, stream) for stream in streams]
    yield (
        "stream_state",
        "gauge",
        "1 for the state that the stream is in.",
        [(n | {"state": state}, state == s.state) for n, s in named for state in get_args(State)],
    )
    yield "frames_captured_total", "counter", "Frames grabbed.", [(n, s.ledger.captured) for n, s in named]
    yield "frames_published_total", "counter", "Frames sent.", [(n, s.ledger.published) for n, s in named]
    yield "frames_in_flight", "gauge", "Frames grabbed and not yet sent.", [(n, s.ledger.in_flight) for n, s in named]
    yield (
        "frames_dropped_total",
        "counter",
        "Frames grabbed and never sent. captured = published + in flight + all of these.",
        [(n | {"reason": reason}, s.ledger.dropped.get(reason, 0)) for n, s in named for reason in DROP_REASONS],
    )
    yield "fps", "gauge", "Frames sent a second, over the last two.", [(n, s.fps) for n, s in named]
    yield "camera_absences_total", "counter", "Returns of the camera.", [(n, s.absences) for n, s in named]
    yield "camera_away", "gauge", "1 while the camera is away.", [(n, s.away is not None) for n, s in named]


def _latency(streams: Iterable[StreamStatus]) -> list[str]:
    """The histogram from grab to send."""
    name = "roadcast_latency_seconds"
    lines = [f"# HELP {name} From the grab of a frame to the end of its sending.", f"# TYPE {name} histogram"]
    for stream in streams:
        own = {"stream": stream.stream}
        for bound_ms, count in zip(LATENCY_BOUNDS_MS, stream.latency_up_to):
            lines.append(_line(f"{name}_bucket", own | {"le": f"{bound_ms / 1000:g}"}, count))
        lines.append(_line(f"{name}_bucket", own | {"le": "+Inf"}, stream.latency_count))
        lines.append(_line(f"{name}_sum", own, stream.latency_total_ns / 1e9))
        lines.append(_line(f"{name}_count", own, stream.latency_count))
    return lines


def _family(name: str, kind: str, text: str, samples: Iterable[Sample]) -> list[str]:
    return [f"# HELP {name} {text}", f"# TYPE {name} {kind}", *(_line(name, *sample) for sample in samples)]


def _line(name: str, labels: Mapping[str, str], value: float) -> str:
    inside = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels.items())
    return f"{name}{f'{{{inside}}}' if inside else ''} {float(value):.12g}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
