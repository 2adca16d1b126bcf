"""What a node shows: one line that lives while it runs, and a summary when it has ended."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from typing import TextIO

from perception.errors import STORAGE_ERRORS
from perception.metrics import Quantiles
from perception.summary import Status, StreamSummary, Summary

LIVE_PERIOD_S = 0.2  # between two redrawings of the line on a terminal
LOG_PERIOD_S = 10.0  # between two lines in a file or pipe
NO_CONTROL = "No control socket: "
_CLEAR_LINE = "\r\x1b[K"


def write_or_lose(stream: TextIO, text: str) -> None:
    """Write what is told on the way; on a full disk it is lost, for nothing shall stop because of its log."""
    try:
        stream.write(text)
        stream.flush()
    except OSError as error:
        if error.errno not in STORAGE_ERRORS:
            raise


class StatusLine:
    """One line at the bottom of a terminal, redrawn in place; in a file or pipe a line now and then."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._in_place = stream.isatty()
        self._due_s = 0.0
        self._key = ""
        self._drawn = False

    def show(self, text: str, *, key: str = "") -> None:
        """Show the text, unless one was shown a moment ago; the first of a new ``key`` is shown at once."""
        now = time.monotonic()
        if now < self._due_s and key == self._key:
            return
        self._key = key
        self._due_s = now + (LIVE_PERIOD_S if self._in_place else LOG_PERIOD_S)
        if not self._in_place:
            self.note(text)
            return
        width = shutil.get_terminal_size().columns
        self._write(_CLEAR_LINE + text[: width - 1])
        self._drawn = True

    def note(self, text: str) -> None:
        """A line that stays, above the living one."""
        self.clear()
        self._write(text + "\n")

    def clear(self) -> None:
        """Take the living line away."""
        if self._drawn:
            self._write(_CLEAR_LINE)
            self._drawn = False

    def _write(self, text: str) -> None:
        write_or_lose(self._stream, text)


class NodeScreen:
    """Shows a node on a status line; says what runs the model and why."""

    def __init__(self, line: StatusLine) -> None:
        self._line = line
        self._engine_reason = ""
        self._away: set[str] = set()
        self._refused = 0

    def show(self, status: Status) -> None:
        """Show how things stand."""
        if status.engine_reason != self._engine_reason:
            where = "From now on." if self._engine_reason else f"Publishing at {status.publish}."
            self._line.note(f"{status.engine_reason} {where}")
            if not self._engine_reason and status.control.startswith(NO_CONTROL):
                self._line.note(status.control)
            self._engine_reason = status.engine_reason
        for name in sorted(status.away.keys() - self._away):
            self._line.note(f"{name}: {status.away[name]} Trying again.")
        for name in sorted(self._away - status.away.keys()):
            self._line.note(f"{name}: the camera is back.")
        self._away = set(status.away)
        if status.refused > self._refused:
            self._refused = status.refused
            self._line.note(f"A client was refused ({status.refused} so far): {status.refused_because}.")
        self._line.show(status_text(status), key=status.state if status.state == "running" else status.doing)


def status_text(status: Status) -> str:
    """The living line: rate, latency, progress, drops and subscribers."""
    if status.state == "reconnecting":
        return f"waiting for {', '.join(sorted(status.away)) or 'the camera'} to come back ..."
    if status.state != "running":
        return f"{status.doing} ..."
    frames = status.ledger
    total = f"/{status.expected}" if status.expected else ""
    parts = [
        f"{status.fps:5.1f} fps",
        f"latency p50 {_ms(status.latency_ms.p50)} p99 {_ms(status.latency_ms.p99)}",
        f"frames {frames.published}{total}",
        f"dropped {_drops(frames.dropped)}",
        f"subscribers {status.subscribers}",
    ]
    if status.away:
        parts.append(f"away: {', '.join(sorted(status.away))}")
    paused = [stream.stream for stream in status.streams if stream.paused]
    if paused:
        parts.append("paused" if len(paused) == len(status.streams) else f"paused: {', '.join(paused)}")
    if not status.computes:
        parts.append("nobody subscribes to labels or objects: the engine rests")
    return " | ".join(parts)


def summary_text(summary: Summary) -> str:
    """The summary as a table of a few lines."""
    frames, process = summary.frames, summary.process
    read = frames.captured - frames.dropped.get("decode_error", 0)
    cut = summary.reason == "frame_limit"
    held = "" if summary.promised is None or cut else f" of {summary.promised} promised"
    several, topics = len(summary.streams) > 1, summary.stream.replace(", ", "/, ") + "/"
    source = f"{len(summary.streams)} cameras" if several else f"{summary.source}, {_size(summary.source_size)}"
    rate = "-" if summary.fps is None else f"{summary.fps:.1f} fps"
    rows = [
        ("ended", f"{_REASONS[summary.reason]} after {process['seconds']:.1f} s"),
        ("source", f"{source}: {read}{held} frames read"),
        ("frames", f"captured {frames.captured}, published {frames.published}, dropped {_drops(frames.dropped)}"),
        ("rate", f"{rate}, {summary.computed} frames computed"),
        ("latency", f"{_quantiles(summary.latency_ms)}, first frame {_ms(summary.first_frame_ms)}"),
        ("of which", _stages(summary.stages_ms)),
        ("engine", f"{summary.engine_reason} {_size(summary.network_size)}, {summary.slots} slots"),
        ("model", f"{summary.model.get('id', '-')} {summary.model.get('precision', '')}".strip()),
        ("endpoint", f"{summary.publish} as {topics}, policy {summary.policy}, {_readers(summary.subscribers)}"),
        ("process", _process(process)),
    ]
    if several or any(stream.absences for stream in summary.streams):
        rows[2:2] = [(stream.stream, _stream(stream, several=several)) for stream in summary.streams]
    if summary.threads_left:
        rows.append(("stuck", f"{', '.join(summary.threads_left)} did not end in time and was left behind"))
    return "\n".join(f"{name:>10}  {text}" for name, text in rows if text)


_REASONS = {
    "end_of_source": "the source ended",
    "frame_limit": "the frame limit was reached",
    "interrupted": "interrupted",
    "source_error": "the source failed",
    "engine_error": "the engine failed",
}


def _stream(stream: StreamSummary, *, several: bool) -> str:
    rate = "-" if stream.fps is None else f"{stream.fps:.1f} fps"
    parts = [
        f"{stream.source}, {_size(stream.source_size)}" if several else "",
        f"{stream.frames.published} frames, {rate}, dropped {_drops(stream.frames.dropped)}",
        "" if stream.age_ms.p50 is None else f"age when used p50 {_ms(stream.age_ms.p50)} p99 {_ms(stream.age_ms.p99)}",
        f"came back {stream.absences} times" if stream.absences else "",
        stream.error or "",
    ]
    return ", ".join(part for part in parts if part)


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} ms"


def _size(size: tuple[int, int] | None) -> str:
    return "size unknown" if size is None else f"{size[0]}x{size[1]}"


def _readers(count: int) -> str:
    return f"{count} subscriber{'s'[: count != 1]} at the end"


def _drops(dropped: Mapping[str, int]) -> str:
    if not dropped:
        return "0"
    return f"{sum(dropped.values())} ({', '.join(f'{count} {reason}' for reason, count in sorted(dropped.items()))})"


def _quantiles(latency: Quantiles) -> str:
    return f"p50 {_ms(latency.p50)}, p95 {_ms(latency.p95)}, p99 {_ms(latency.p99)}, max {_ms(latency.max)}"


def _stages(stages: Mapping[str, Quantiles]) -> str:
    spent = ", ".join(f"{name} {_ms(stage.p50)}" for name, stage in stages.items())
    return spent and f"{spent} (medians, which need not add up)"


def _process(process: Mapping[str, float | None]) -> str:
    busy, cost, memory = process.get("busy"), process.get("core_ms_per_frame"), process.get("resident_mb")
    parts = [
        "" if busy is None else f"{100 * busy:.0f} % of {process.get('cores'):.0f} cores busy",
        "" if cost is None else f"{cost:.1f} core-ms a frame",
        "" if memory is None else f"{memory:.0f} MB resident",
    ]
    return ", ".join(part for part in parts if part)
