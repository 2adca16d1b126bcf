"""How a node answers a fault: what is expected of the stream that was hurt, and of all others."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, field
from pathlib import Path

from cast import Camera, Node, Reader
from witness import Witness

RECOVERY_S = 5.0  # after the camera's return
SILENCE_S = 2.0  # what no stream that was not hurt may exceed
STARVED_S = 1.0  # who waited so long for the machine in a fault's time may be late


@dataclass(slots=True)
class Soak:
    """The cast on stage, and how often each fault was done."""

    cameras: list[Camera]
    node: Node
    witness: Witness
    reader: Reader
    folder: Path
    stall_s: float
    chance: random.Random
    rounds: int = 0  # of all the faults


@dataclass(slots=True)
class Outcome:
    """What a fault did and how it was answered; ``problems`` is empty where all was well."""

    fault: str
    target: str
    at_s: float  # monotonic
    answer: str = ""
    recovery_s: float | None = None  # from the camera's return to its first frame
    hurt: frozenset[str] = frozenset()  # streams of which an event may come
    problems: list[str] = field(default_factory=list)
    waited_s: float = 0.0  # for a processor by all who take part, for what went over loopback, or for a virtual machine

    @property
    def judged(self) -> bool:
        """Whether its problems can be the node's: not where the machine was too busy to run it."""
        return not self.problems or self.waited_s <= STARVED_S

    def check(self, good: bool, problem: str) -> bool:
        """Note a problem unless all is well."""
        if not good:
            self.problems.append(problem)
        return good


def judge_bystanders(soak: Soak, outcome: Outcome) -> None:
    """No stream that was not hurt may fall silent, or have an event."""
    silence = soak.witness.longest_silence(outcome.at_s, next(iter(outcome.hurt), None))
    outcome.check(silence.seconds <= SILENCE_S, f"another stream was silent: {silence}")
    for event in soak.witness.events:
        if event.at_s >= outcome.at_s and event.name != "drop_burst":
            known = event.stream in outcome.hurt and event.name in ("reconnecting", "recovered")
            outcome.check(known, f"{event.stream}: {event.name}, which nobody caused: {dict(event.detail)}")


def expect_absence(soak: Soak, outcome: Outcome, stream: str | None, reason: str, patience_s: float) -> None:
    """The event that a stream is away, for this reason; of any stream where ``stream`` is None."""
    witness = soak.witness
    witness.wait(lambda: witness.event("reconnecting", outcome.at_s, stream) is not None, patience_s)
    event = witness.event("reconnecting", outcome.at_s, stream)
    if event is None:
        outcome.problems.append(f"no event 'reconnecting' within {patience_s:g} s")
        return
    outcome.target, outcome.hurt = event.stream, frozenset({event.stream})
    outcome.check(reason in str(event.detail.get("reason")), f"the reason given is {event.detail.get('reason')!r}")


def expect_return(soak: Soak, outcome: Outcome, back_s: float) -> None:
    """The event, and a frame that was captured after the camera was back."""
    outcome.hurt = frozenset({outcome.target})
    first_frame(soak, outcome, outcome.target, back_s)
    told = soak.witness.wait(
        lambda: soak.witness.event("recovered", outcome.at_s, outcome.target) is not None, RECOVERY_S
    )
    outcome.check(told, "no event 'recovered'")
    outcome.answer = "reconnecting, recovered" if told else ""


def first_frame(soak: Soak, outcome: Outcome, stream: str, back_s: float) -> None:
    """A frame that was captured after ``back_s``, monotonic, in time."""
    seen = soak.witness.seen[stream]
    came = soak.witness.wait(lambda: seen.captured_s > back_s, 3 * RECOVERY_S)
    outcome.recovery_s = time.monotonic() - back_s
    outcome.check(
        came and outcome.recovery_s <= RECOVERY_S, f"the first frame came {outcome.recovery_s:.1f} s after the return"
    )
