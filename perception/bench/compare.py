"""Two results side by side: what may be compared, what changed, and whether that is more than noise.

Every round gives one value a figure. Figures above 0 are compared as ratios; shares, which may be 0, as differences.
The intervals hold together: with k judged figures each is taken at 1 - 0.05 / k (Bonferroni), so that at most one
comparison in twenty of equal nodes finds anything at all, and of those half are for the better. Rounds of one run share
the machine's mood of that hour, which no number of rounds tells; so a regression must also reach a minimal effect,
and the bare contestants of the same rounds stand beside the node as controls.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from perception.bench.comparable import differences, load_warnings, obstacles
from perception.bench.intervals import MIN_ROUNDS, Interval, difference, relative_change
from perception.bench.result import SCHEMA, VERSION, look_up
from perception.errors import RequestError

Verdict = Literal["better", "worse", "no difference"]
CONFIDENCE = 0.95  # of all judged figures together
MIN_SHARE = 0.01  # of the frames: what is less is no regression of a share


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure of every round, and which way is better. ``judged`` ones may be regressions, others are controls."""

    name: str
    path: str
    higher_is_better: bool = False
    share: bool = False
    judged: bool = True


# The maximum of the latency is left out: it is one frame, and no five of them tell anything.
FIGURES = (
    Figure("frames a second", "node.fps", higher_is_better=True),
    Figure("latency p50, ms", "node.latency_ms.p50"),
    Figure("latency p95, ms", "node.latency_ms.p95"),
    Figure("latency p99, ms", "node.latency_ms.p99"),
    Figure("core-ms a frame", "node.core_ms"),
    Figure("first frame, ms", "node.first_frame_ms"),
    Figure("ready after, s", "node.ready_s"),
    Figure("memory at the end, MB", "node.memory_mb.end"),
    Figure("memory at most, MB", "node.memory_mb.peak"),
    Figure("frames not delivered", "node.undelivered", share=True),
    Figure("bare engine, fps", "bare engine.fps", higher_is_better=True, judged=False),
    Figure("bare decoding, fps", "bare decoding.fps", higher_is_better=True, judged=False),
    Figure("serial loop, fps", "serial loop.fps", higher_is_better=True, judged=False),
)


@dataclass(frozen=True, slots=True)
class Change:
    """One figure in both results: the means, the change and its interval (fractions; shares as they are)."""

    figure: Figure
    before: float
    after: float
    interval: Interval
    verdict: Verdict
    regression: bool


@dataclass(frozen=True, slots=True)
class Comparison:
    """What is to be said of two results."""

    changes: Sequence[Change]
    missing: Sequence[str]  # figures that one of the two does not tell
    differences: Sequence[str]  # between the settings and surroundings
    warnings: Sequence[str]
    min_effect: float

    @property
    def regressions(self) -> list[Change]:
        """What got worse beyond noise and the minimal effect."""
        return [change for change in self.changes if change.regression]

    def to_json(self) -> dict[str, Any]:
        """As JSON knows values."""
        return {
            "schema": f"{SCHEMA}-compare",
            "version": VERSION,
            "confidence": CONFIDENCE,
            "min_effect": self.min_effect,
            "min_effect_of_shares": MIN_SHARE,
            "figures": [asdict(change) for change in self.changes],
            "missing": list(self.missing),
            "differences": list(self.differences),
            "warnings": list(self.warnings),
            "regressions": [change.figure.path for change in self.regressions],
        }


def compare(before: Mapping[str, Any], after: Mapping[str, Any], *, min_effect: float, force: bool) -> Comparison:
    """Compare two results as ``read`` gives them.

    Args:
        min_effect: relative change below which nothing is a regression, 0.05 for 5 %.
        force: compare what differs in more than the node, with a warning.

    Raises:
        RequestError: the two are not comparable, or hold too few rounds to tell noise.
    """
    against = obstacles(before, after)
    if against and not force:
        raise RequestError(
            f"These two cannot be compared: {'; '.join(against)}. Measure both alike, or say --force to do it anyway."
        )
    rounds = [_rounds(result) for result in (before, after)]
    values = {figure: [_values(found, figure) for found in rounds] for figure in FIGURES}
    told = {figure: pair for figure, pair in values.items() if all(len(found) >= MIN_ROUNDS for found in pair)}
    judged = sum(figure.judged for figure in told)
    if not judged:
        raise RequestError(
            f"There is nothing to compare: A has {len(rounds[0])} rounds, B {len(rounds[1])}, and noise cannot be told "
            f"from fewer than {MIN_ROUNDS}. Measure with --rounds {MIN_ROUNDS} or more."
        )
    confidence = 1 - (1 - CONFIDENCE) / judged
    changes = [judge(figure, *pair, confidence=confidence, min_effect=min_effect) for figure, pair in told.items()]
    return Comparison(
        changes,
        [figure.name for figure in FIGURES if figure not in told],
        differences(before, after),
        [f"compared although there is {obstacle}" for obstacle in against]
        + [f"{name}: {said}" for name, result in (("A", before), ("B", after)) for said in load_warnings(result)]
        + _moods(changes, min_effect),
        min_effect,
    )


def judge(
    figure: Figure, before: Sequence[float], after: Sequence[float], *, confidence: float, min_effect: float
) -> Change:
    """The verdict on one figure, from its values in the rounds of either result."""
    interval = (difference if figure.share else relative_change)(before, after, confidence)
    worse = (interval.estimate < 0) == figure.higher_is_better
    verdict: Verdict = "no difference" if not interval.beyond_noise else "worse" if worse else "better"
    relevant = abs(interval.estimate) >= (MIN_SHARE if figure.share else min_effect)
    means = [sum(values) / len(values) for values in (before, after)]
    return Change(figure, means[0], means[1], interval, verdict, figure.judged and verdict == "worse" and relevant)


def _rounds(result: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [figures for figures in result["rounds"] if isinstance(figures, Mapping)]


def _values(rounds: Sequence[Mapping[str, Any]], figure: Figure) -> list[float]:
    """The figure of every round that tells it, and that can be compared as it has to be."""
    values = [look_up(figures, figure.path) for figures in rounds]
    return [value for value in values if value is not None and (figure.share or value > 0)]


def _moods(changes: Sequence[Change], min_effect: float) -> list[str]:
    """What the controls say: they have nothing of the pipeline in them."""
    return [
        f"{change.figure.name} changed by {change.interval.estimate:+.1%}, too: the machine was another in B, "
        "or what the node shares with it changed"
        for change in changes
        if not change.figure.judged
        and change.verdict != "no difference"
        and abs(change.interval.estimate) >= min_effect
    ]
