"""What a node says on stderr as one JSON object a line, for programs that collect logs."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import datetime, timezone
from typing import Any, Literal, TextIO

from perception.metrics import rounded
from perception.sources.address import redact
from perception.summary import Status, Summary
from perception.terminal import write_or_lose

PERIOD_S = 10.0  # between two lines on how it goes
Level = Literal["info", "warning", "error"]


class JsonLog:
    """Writes events of a node as they happen, and every ten seconds how it goes."""

    def __init__(self, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream or sys.stderr
        self._clock = clock
        self._due_s = -1e9
        self._doing = ""
        self._away: set[str] = set()
        self._refused = 0
        self._introduced = False
        self._model: Mapping[str, str] = {}

    def say(self, event: str, *, level: Level = "info", **fields: Any) -> None:
        """One line: ``time`` (RFC 3339, UTC), ``level``, ``event``, and what belongs to it."""
        now = datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        line = json.dumps({"time": now, "level": level, "event": event, **rounded(fields, 3)}, default=str)
        write_or_lose(self._stream, redact(line) + "\n")

    def show(self, status: Status) -> None:
        """Say what is new. Called five times a second."""
        if status.streams and not self._introduced:
            self._introduced = True
            self._model = status.model
            self.say(
                "ready",
                publish=status.publish,
                control=status.control,
                engine_reason=status.engine_reason,
                model=dict(status.model),
            )
        if self._introduced and status.model != self._model:
            self._model = status.model
            self.say("model_changed", engine_reason=status.engine_reason, model=dict(status.model))
        for name in sorted(status.away.keys() - self._away):
            self.say("reconnecting", level="warning", stream=name, reason=status.away[name])
        for name in sorted(self._away - status.away.keys()):
            self.say("recovered", stream=name)
        self._away = set(status.away)
        if status.refused > self._refused:
            self._refused = status.refused
            self.say("refused", level="warning", clients=status.refused, reason=status.refused_because)
        now, doing = self._clock(), status.state if status.state == "running" else status.doing
        if doing != self._doing or now >= self._due_s:
            self._doing, self._due_s = doing, now + PERIOD_S
            self.say(
                "status",
                state=status.state,
                doing=status.doing,
                fps=status.fps,
                latency_ms=asdict(status.latency_ms),
                subscribers=status.subscribers,
                streams={
                    stream.stream: {"state": stream.state, "fps": stream.fps, **asdict(stream.ledger)}
                    for stream in status.streams
                },
            )

    def ended(self, summary: Summary) -> None:
        """The last line of a run, with all that the summary holds."""
        level: Level = "error" if summary.error else "info"
        self.say("ended", level=level, **summary.to_json())
