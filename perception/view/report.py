"""What came of a view, as values and as text."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Written:
    """A file that a view wrote."""

    path: str
    bytes: int
    frames: int  # of the video; tiles of the sheet
    width: int
    height: int
    duration_s: float | None = None  # of the video

    def text(self) -> str:
        """One line."""
        length = f"{self.frames} tiles" if self.duration_s is None else f"{self.frames} frames, {self.duration_s:.1f} s"
        return f"{self.path}  {length}, {self.width}x{self.height}, {self.bytes / 1e6:.1f} MB"


@dataclass(frozen=True, slots=True)
class Report:
    """What came of a view."""

    origin: str
    frames: int
    seconds: float
    fps: float | None  # frames drawn a second
    latency_p50_ms: float | None  # capture to this process, over the last frames
    latency_p99_ms: float | None
    dropped: int  # frames of the stream that never came here
    interrupted: bool
    error: str | None  # what ended a run that did not end well
    exit_code: int
    notes: tuple[str, ...]
    files: tuple[Written, ...]

    def to_json(self) -> dict[str, Any]:
        """The report as JSON knows values, rounded to three digits after the point."""
        values: dict[str, Any] = _rounded(asdict(self))
        return values

    def text(self) -> str:
        """A few lines."""
        parts = [f"{self.frames} frames of {self.origin}"]
        if self.fps is not None:
            parts.append(f"{self.fps:.1f} fps")
        if self.latency_p50_ms is not None and self.latency_p99_ms is not None:
            parts.append(f"latency p50 {self.latency_p50_ms:.1f} ms p99 {self.latency_p99_ms:.1f} ms")
        parts.append(f"{self.dropped} dropped")
        if self.interrupted:
            parts.append("interrupted")
        return "\n".join([", ".join(parts), *self.notes, *(file.text() for file in self.files)])


def progress_text(done: int, expected: int | None, seconds: float) -> str:
    """The line that lives while a view is drawn: a bar and the time left where the end is known."""
    rate = done / seconds if seconds > 0 else 0.0
    if not expected:
        return f"drawing: {done} frames, {rate:.1f} fps"
    share = min(1.0, done / expected)
    bar = "█" * round(20 * share)
    left = f", {max(0, expected - done) / rate:.0f} s left" if rate and done < expected else ""
    return f"drawing: {bar:░<20} {share:4.0%}  {done}/{expected} frames, {rate:.1f} fps{left}"


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 3)
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return [_rounded(item) for item in value] if isinstance(value, (list, tuple)) else value
