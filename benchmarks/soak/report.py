"""The soak's report: bars that are met or missed, as JSON and as a page."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from answers import RECOVERY_S, STARVED_S, Outcome
from usage import Sample, growth, rise
from witness import Witness

SLOPE_MB_PER_H = 5.0
JUDGED = 0.95  # at least this share of the faults must have been judged
SHORTEST_S = 20 * 60.0  # of what remains after the warm-up: less says nothing about a slope


@dataclass(frozen=True, slots=True)
class Bar:
    """One promise: what was found, and whether it is kept; None where the run was too short to tell."""

    name: str
    found: str
    met: bool | None


def judge(
    outcomes: Sequence[Outcome],
    samples: Sequence[Sample],
    warm_up_s: float,
    witness: Witness,
    summary: Mapping[str, Any],
    exit_code: int,
) -> list[Bar]:
    """Every bar of the soak."""
    judged = [outcome for outcome in outcomes if outcome.judged]
    good = sum(not outcome.problems for outcome in judged)
    returns = [outcome.recovery_s for outcome in judged if outcome.recovery_s is not None]
    return [
        Bar(
            "every fault is answered, and only by what it caused",
            f"{good} of {len(judged)}",
            good == len(judged) > 0,
        ),
        Bar(
            f"faults that were judged, for the machine kept nobody waiting for {STARVED_S:g} s",
            f"{len(judged)} of {len(outcomes)}",
            len(judged) >= JUDGED * len(outcomes),
        ),
        Bar(
            f"recovery within {RECOVERY_S:g} s of the camera's return",
            f"median {statistics.median(returns):.2f} s, at most {max(returns):.2f} s" if returns else "none",
            bool(returns) and max(returns) <= RECOVERY_S,
        ),
        *_ledger(samples, witness, summary, busy=len(judged) < len(outcomes)),
        *_growth([sample for sample in samples if sample.at_s >= warm_up_s]),
        Bar("the node ends in order", f"exit code {exit_code}", exit_code == 0),
    ]


def _ledger(samples: Sequence[Sample], witness: Witness, summary: Mapping[str, Any], *, busy: bool) -> list[Bar]:
    """Of counts; a subscriber that the machine let starve (``busy``) may lose messages, as long as it knows of them."""
    streams = {stream["stream"]: stream["frames"] for stream in summary.get("streams", ())}
    odd = [
        name
        for name, frames in streams.items()
        if frames["captured"] != frames["published"] + sum(frames["dropped"].values()) or frames["in_flight"]
    ]
    captured, published = (sum(frames[key] for frames in streams.values()) for key in ("captured", "published"))
    received, lost = (sum(getattr(seen, key) for seen in witness.seen.values()) for key in ("frames", "lost"))
    findings = [finding for finding in witness.findings if not finding.endswith(" lost")]
    unbalanced = sum(not sample.balanced for sample in samples)
    return [
        Bar(
            "the ledger balances to the frame, in every message, in /metrics and at the end",
            f"{captured} captured = {published} published + {captured - published} dropped; "
            f"out of balance: {odd or 'none'}, in /metrics {unbalanced} of {len(samples)}",
            bool(streams) and not odd and not unbalanced,
        ),
        Bar(
            "nothing is lost unaccounted: published = received + gaps in seq",
            f"{published} = {received} + {lost}",
            published == received + lost,
        ),
        Bar(
            "a subscriber that always reads loses nothing",
            f"{lost} frames, {witness.lost} messages",
            None if lost and busy else not witness.lost,
        ),
        Bar(
            "the audit of every message finds nothing else",
            witness.error or "; ".join(findings[:5]) or "nothing",
            not findings and witness.error is None,
        ),
        Bar(
            "/healthz says 200 all the time",
            f"{sum(sample.healthy for sample in samples)} of {len(samples)}",
            all(sample.healthy for sample in samples),
        ),
    ]


def _growth(samples: Sequence[Sample]) -> list[Bar]:
    """Of the samples after the warm-up; of memory, those with every capture at work."""
    span_s = samples[-1].at_s - samples[0].at_s if samples else 0.0
    most = max((sample.captures for sample in samples), default=0)
    whole = [sample for sample in samples if sample.captures == most]
    times = [sample.at_s for sample in whole]
    bars = []
    for name, values in (
        ("node", [sample.node_mb for sample in whole]),
        ("node and captures", [sample.node_mb + sample.captures_mb for sample in whole]),
    ):
        line = growth(times, values) if span_s >= SHORTEST_S else None
        found = "too short to tell"
        if line is not None:
            found = f"{line.per_hour:+.2f} ± {line.error:.2f} MB/h, from {line.first:.0f} MB, {line.samples} samples"
        bars.append(
            Bar(
                f"resident memory of {name} grows by less than {SLOPE_MB_PER_H:g} MB/h",
                found,
                None if line is None else line.per_hour < SLOPE_MB_PER_H,
            )
        )
    for name, counts in (
        ("open files of the node do not grow", [sample.node_files for sample in samples]),
        ("open files of the captures do not grow", [sample.capture_files for sample in whole]),
        ("threads of the node do not grow", [sample.threads for sample in samples]),
    ):
        more = rise(counts)
        found = "too short to tell" if more is None else f"{more:+g}, between {min(counts)} and {max(counts)}"
        bars.append(Bar(name, found, None if more is None else more <= 0))
    return bars


def page(result: Mapping[str, Any], bars: Sequence[Bar], outcomes: Sequence[Outcome]) -> str:
    """The report as Markdown."""
    machine, software = result["machine"], result["software"]
    missed = sum(bar.met is False for bar in bars)
    lines = [
        f"# Soak: {result['minutes']:.1f} minutes, {len(outcomes)} faults, "
        + (f"{missed} bars missed" if missed else "every bar met"),
        "",
        f"`{result['command']}` on {result['date']}: {machine['processor']}, {machine['cores']} cores; "
        f"roadcast {software['roadcast']} ({software['commit']}), Python {software['python']}, "
        + ", ".join(f"{name} {version}" for name, version in software["packages"].items())
        + ".",
        "",
        result["scene"],
        "",
        "| bar | found | |",
        "|---|---|---|",
        *(f"| {bar.name} | {bar.found} | {_MARKS[bar.met]} |" for bar in bars),
        "",
        "| fault | times | answered | recovery: median, most | answer |",
        "|---|---|---|---|---|",
        *_table(outcomes),
        "",
        f"Processor: the node and its captures took {result['cpu_cores']:.2f} cores. Other programs took "
        f"{100 * (result['others'] or 0):.0f} % of the machine. Age of a frame at the subscriber: "
        f"p50 {result['age_ms']['p50']:.0f} ms, p99 {result['age_ms']['p99']:.0f} ms. "
        f"Scheduling of the soak: {result['scheduling']}.",
    ]
    problems = [
        f"- {o.at_s:.0f} s, {o.fault} {o.target}: {problem} (waited {o.waited_s:.1f} s for the machine)"
        for o in outcomes
        for problem in o.problems
    ]
    return "\n".join([*lines, *(["", "What went wrong:", "", *problems] if problems else []), ""])


def _table(outcomes: Sequence[Outcome]) -> list[str]:
    of: defaultdict[str, list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        of[outcome.fault].append(outcome)
    lines = []
    for fault, those in of.items():
        spans = [outcome.recovery_s for outcome in those if outcome.recovery_s is not None]
        recovery = f"{statistics.median(spans):.2f} s, {max(spans):.2f} s" if spans else ""
        good = sum(not outcome.problems for outcome in those)
        answers = sorted({outcome.answer for outcome in those if outcome.answer})
        lines.append(f"| {fault} | {len(those)} | {good} | {recovery} | {'; '.join(answers[:2])} |")
    return lines


_MARKS = {True: "met", False: "**missed**", None: "-"}


def plain(outcomes: Sequence[Outcome], samples: Sequence[Sample], bars: Sequence[Bar]) -> dict[str, Any]:
    """All of it, ready for JSON."""
    faults = [{**asdict(outcome), "hurt": sorted(outcome.hurt)} for outcome in outcomes]
    return {"bars": [asdict(b) for b in bars], "faults": faults, "samples": [asdict(sample) for sample in samples]}
