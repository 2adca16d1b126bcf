"""A comparison as a person reads it."""

from __future__ import annotations

from perception.bench.compare import Change, Comparison


def comparison_table(found: Comparison, names: tuple[str, str]) -> str:
    """What differs, every change with its interval and verdict, and what it comes to."""
    width = max(len(change.figure.name) for change in found.changes)
    parts = [[f"A  {names[0]}", f"B  {names[1]}", *(f"   {line}" for line in found.differences)]]
    for judged, title in ((True, "the node"), (False, "controls, not judged")):
        rows = [_row(change, width) for change in found.changes if change.figure.judged == judged]
        if rows:
            parts.append([f"{title:{width}}{'A':>10}{'B':>10}{'change':>11}   between", *rows])
    missing = [f"not told by both: {', '.join(found.missing)}"] if found.missing else []
    parts.append([*(f"warning: {warning}" for warning in found.warnings), *missing, _conclusion(found)])
    return "\n\n".join("\n".join(lines) for lines in parts)


def _row(change: Change, width: int) -> str:
    interval, unit = change.interval, "pt" if change.figure.share else "% "
    estimate, low, high = (100 * value for value in (interval.estimate, interval.low, interval.high))
    between = f"{low:+.1f} .. {high:+.1f} {unit}"
    verdict = f"{change.verdict}{', a REGRESSION' if change.regression else ''}"
    return (
        f"{change.figure.name:{width}}{change.before:10.4g}{change.after:10.4g}{estimate:+8.1f} {unit}"
        f"   {between:22}{verdict}"
    )


def _conclusion(found: Comparison) -> str:
    limit = f"beyond noise and by {100 * found.min_effect:g} % or more"
    worse = [change.figure.name for change in found.regressions]
    return f"worse {limit}: {'; '.join(worse)}" if worse else f"no regression ({limit})"
