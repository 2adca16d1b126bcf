"""The beginning of ``benchmarks/soak``: real cameras, a capture that is killed, and a report."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from test_reconnecting import rtsp

ROOT = Path(__file__).parents[2]
__all__ = ["rtsp"]


def test_the_soak_breaks_something_and_reports(rtsp: None, tmp_path: Path) -> None:  # noqa: ARG001
    command = [sys.executable, str(ROOT / "benchmarks" / "soak"), "--minutes", "0.05", "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=110)
    # How soon a camera is back is a question to a quiet machine; what is lost, and what is told, is not.
    assert done.returncode in (0, 1), done.stderr
    result = json.loads((tmp_path / "soak.json").read_text())
    (fault,) = result["faults"]
    assert (fault["fault"], fault["answer"]) == ("kill capture", "reconnecting, recovered")
    met = [bar["name"] for bar in result["bars"] if bar["met"]]
    for promise in ("the ledger balances", "nothing is lost", "the audit", "the node ends in order"):
        assert any(name.startswith(promise) for name in met), result["bars"]
    assert (tmp_path / "soak.md").read_text().startswith("# Soak: 0.")
