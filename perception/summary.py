"""What a node tells while it runs and when it has ended, as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from perception.ledger import LedgerEntry
from perception.metrics import Quantiles, rounded
from perception.publisher import State
from perception.types import Size

LATENCY_BOUNDS_MS = (5.0, 10.0, 20.0, 33.0, 50.0, 75.0, 100.0, 150.0, 250.0, 500.0, 1000.0, 2500.0)
Reason = Literal["end_of_source", "frame_limit", "interrupted", "source_error", "engine_error"]


@dataclass(frozen=True, kw_only=True)
class StreamStatus:
    """One camera of a running node at one moment. ``latency_up_to`` counts frames by ``LATENCY_BOUNDS_MS``."""

    stream: str
    state: State
    ledger: LedgerEntry
    fps: float
    latency_up_to: tuple[int, ...]
    latency_count: int
    latency_total_ns: int
    absences: int
    away: str | None  # why the camera is away just now
    paused: bool = False


@dataclass(frozen=True, kw_only=True)
class Status:
    """A running node at one moment. Rates and latency look back a few seconds."""

    state: State  # the one that is published
    doing: str  # what it does just now, for a reader: "opening the engine", "waiting for 1 of 2 subscribers"
    ledger: LedgerEntry
    expected: int | None  # frames that this run is to read, where that is known
    fps: float
    latency_ms: Quantiles
    subscribers: int
    computes: bool  # whether anybody wants what the engine computes
    publish: str  # the endpoint as bound; empty before
    engine_reason: str  # what runs the model and why; empty before it is loaded
    away: Mapping[str, str] = field(default_factory=dict)  # cameras that are away just now, and why
    streams: tuple[StreamStatus, ...] = ()
    model: Mapping[str, str] = field(default_factory=dict)  # id, precision and engine; empty before it is loaded
    control: str = ""  # the endpoint where the node can be controlled; else why there is none
    refused: int = 0  # connections of clients without an allowed key
    refused_because: str = ""


@dataclass(frozen=True, kw_only=True)
class StreamSummary:
    """One camera of a run that has ended.

    ``age_ms`` is how old its frames were when the network began with them, counted from the grab; None while
    nobody subscribed to what it computes.
    """

    stream: str
    source: str
    live: bool
    source_size: Size | None
    promised: int | None
    frames: LedgerEntry
    fps: float | None
    latency_ms: Quantiles
    age_ms: Quantiles
    absences: int  # from which the camera came back
    reason: Reason
    error: str | None


@dataclass(frozen=True, kw_only=True)
class Summary:
    """A run that has ended. With several cameras, ``frames`` and ``promised`` are sums and ``streams`` has each.

    ``latency_ms`` is from capture until the messages were handed to the socket, without the first frame.
    ``stages_ms`` holds every stage and queue in the order in which frames meet them. ``error`` is what ended a
    run that did not end well, ``exit_code`` what the command ends with.
    """

    state: Literal["ended", "failed"]
    reason: Reason
    error: str | None
    exit_code: int
    source: str
    live: bool
    source_size: Size | None
    promised: int | None
    frames: LedgerEntry
    computed: int  # frames that went through the engine, because somebody wanted its answers
    fps: float | None
    latency_ms: Quantiles
    first_frame_ms: float | None
    stages_ms: Mapping[str, Quantiles]
    stream: str
    publish: str
    policy: str
    subscribers: int
    engine: str
    engine_reason: str
    slots: int
    model: Mapping[str, str]  # id, sha256, precision
    network_size: Size | None
    process: Mapping[str, float | None]  # see Usage.since
    streams: tuple[StreamSummary, ...] = ()
    threads_left: tuple[str, ...] = ()  # that did not end in time

    def to_json(self) -> dict[str, Any]:
        """The summary as JSON knows values, durations rounded to microseconds."""
        values: dict[str, Any] = rounded(asdict(self), 3)
        return values
