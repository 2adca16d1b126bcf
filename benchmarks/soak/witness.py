"""The subscriber of the soak that never stalls: it audits everything, and remembers what came when."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from perception.client import Message, Subscriber
from perception.client.audit import Audit
from perception.client.joining import Joiner
from perception.errors import Timeout

KINDS = ("labels", "objects", "summary")
POLL_S = 0.05


@dataclass(frozen=True, slots=True)
class Event:
    """An event message, and when it arrived (monotonic seconds)."""

    at_s: float
    stream: str
    name: str
    detail: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Silence:
    """The time in which no frame of a stream arrived.

    ``then_s`` is how old the frame was that ended it, None where none has: an old one was held up on its way here, a
    young one was not captured before.
    """

    stream: str
    seconds: float
    then_s: float | None

    def __str__(self) -> str:
        after = "no frame since" if self.then_s is None else f"then a frame {self.then_s:.1f} s old"
        return f"{self.stream} for {self.seconds:.1f} s, {after}"


@dataclass(slots=True)
class Seen:
    """What is remembered of one stream."""

    frames: int = 0
    lost: int = 0  # frames whose labels were sent and did not arrive: gaps in seq
    seq: int | None = None  # of the newest labels
    arrivals: list[tuple[float, float]] = field(default_factory=list)  # of every frame: when, and how old it was, in s
    captured_s: float = 0.0  # of the newest frame, monotonic
    wall_offset_s: float = 0.0  # by how much the node's clock is ahead of this process's
    ledger: Mapping[str, Any] = field(default_factory=dict)
    subscribers: int = 0


class Witness:
    """Reads in a thread of its own until the node says that it ends."""

    def __init__(self, endpoint: str) -> None:
        self.seen: defaultdict[str, Seen] = defaultdict(Seen)
        self.events: list[Event] = []
        self.findings: list[str] = []  # of the audit, complete at the end
        self.ages_ms: list[float] = []
        self.lost = 0
        self.error: str | None = None
        self._endpoint = endpoint
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="witness", daemon=True)
        self._thread.start()

    def finish(self, patience_s: float) -> None:
        """Wait for the end of the streams, for so long, and judge what was seen."""
        self._thread.join(patience_s)
        self._stop.set()
        self._thread.join(patience_s)

    def wait(self, condition: Callable[[], bool], patience_s: float) -> bool:
        """Whether something becomes true in that time."""
        deadline = time.monotonic() + patience_s
        while not condition():
            if time.monotonic() > deadline:
                return False
            time.sleep(POLL_S)
        return True

    def event(self, name: str, since_s: float, stream: str | None = None) -> Event | None:
        """The first event of this name that came later, of one stream or of any."""
        later = (event for event in self.events if event.at_s >= since_s and event.name == name)
        return next((event for event in later if stream in (None, event.stream)), None)

    def longest_silence(self, since_s: float, but: str | None = None) -> Silence:
        """The longest time without a frame of any one stream, since then until now; one of them may be left out."""
        longest = Silence("", 0.0, None)
        for name, seen in self.seen.items():
            if name != but:
                came = [(at, age) for at, age in seen.arrivals[-500:] if at > since_s]
                times = [(since_s, None), *came, (time.monotonic(), None)]
                silences = [Silence(name, then - now, age) for (now, _), (then, age) in pairwise(times)]
                longest = max(longest, *silences, key=lambda silence: silence.seconds)
        return longest

    def _run(self) -> None:
        audit, joiner = Audit(), Joiner(KINDS)
        try:
            with Subscriber(self._endpoint, streams=None, kinds=KINDS, queue=10_000) as subscriber:
                while not (subscriber.ended or self._stop.is_set()):
                    try:
                        message = subscriber.receive(0.2)
                    except Timeout:
                        continue
                    audit.message(message)
                    for scene in joiner.add(message):
                        audit.scene(scene)
                    self._note(message)
                    self.lost = subscriber.tally.lost
                self.findings = audit.finish()
        except Exception as error:  # the report has to tell it
            self.error = f"{type(error).__name__}: {error}"

    def _note(self, message: Message) -> None:
        seen, now_s = self.seen[message.stream], time.monotonic()
        if message.kind == "event":
            body = message.body
            self.events.append(Event(now_s, message.stream, body["name"], body.get("detail") or {}))
        elif message.kind == "status":
            seen.ledger, seen.subscribers = message.body["ledger"], message.body["subscribers"]
            published = message.header.time
            seen.wall_offset_s = (published.published_ns - time.time_ns()) / 1e9
        elif message.kind == "labels":
            seen.frames += 1
            seen.lost += 0 if seen.seq is None else message.header.seq - seen.seq - 1
            seen.seq = message.header.seq
            seen.captured_s = (message.header.time.captured_mono_ns or 0) / 1e9
            seen.arrivals.append((now_s, now_s - seen.captured_s))
            self.ages_ms.append((now_s - seen.captured_s) * 1e3)
