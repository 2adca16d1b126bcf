"""``roadcast doctor``: what this machine has of what roadcast uses."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from perception.doctor.finding import Finding


def add_parser(commands: Any) -> None:
    """Add the command to the parser of ``roadcast``."""
    parser = commands.add_parser(
        "doctor",
        help="examine this machine: libraries, GPU, cameras, cache",
        description="Examine what roadcast uses on this machine: each part with its version, a verdict and a remedy. "
        "Exits with 1 if something is broken; an optional part that is absent is not.",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object on stdout")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Examine, print, and return 1 if something is broken."""
    from perception.doctor.report import broken, examine
    from perception.terminal import StatusLine

    line = StatusLine(sys.stderr)
    try:
        # The report says all that is to be kept: a file or pipe needs no line about how it came to be.
        findings = examine(line.show if sys.stderr.isatty() else lambda _: None)
    finally:
        line.clear()
    faults = broken(findings)
    if args.json:
        print(json.dumps({"ok": not faults, "findings": [asdict(finding) for finding in findings]}))
    else:
        print(_table(findings))
        print(f"{len(faults)} broken." if faults else "A node can run here.")
    return 1 if faults else 0


def _table(findings: Sequence[Finding]) -> str:
    widths = [max(len(text) for text in column) for column in zip(*map(_cells, findings))]
    lines = []
    for finding in findings:
        cells = [text.ljust(width) for text, width in zip(_cells(finding), widths)]
        lines.append(f"{'  '.join(cells)}  {finding.detail}".rstrip())
        if finding.remedy and finding.verdict != "ok":
            lines.append(f"{'':{widths[0]}}  -> {finding.remedy}")
    return "\n".join(lines)


def _cells(finding: Finding) -> tuple[str, str, str]:
    return finding.part, finding.verdict, finding.version or "-"
