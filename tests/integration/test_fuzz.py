"""A small share of ``benchmarks/fuzz.py``: hostile bytes for the decoder and at every port."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PATIENCE_S = 110.0


def test_decoder_and_ports_survive_hostile_bytes() -> None:
    command = [sys.executable, str(ROOT / "benchmarks" / "fuzz.py"), "--decoder", "3000", "--sockets", "400"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == 0, done.stderr
    told = [line.partition(":")[0] for line in done.stdout.splitlines() if "no crash" in line]
    assert told == ["decoder", "node", "node with keys", "subscriber", "metrics", "control"]
