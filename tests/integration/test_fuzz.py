"""A small share of ``benchmarks/fuzz.py``: hostile bytes for the decoder and at every port."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgpack
import pytest

from perception.control.message import pack_request

ROOT = Path(__file__).parents[2]
PATIENCE_S = 110.0


def test_decoder_and_ports_survive_hostile_bytes() -> None:
    command = [sys.executable, str(ROOT / "benchmarks" / "fuzz.py"), "--decoder", "3000", "--sockets", "400"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == 0, done.stderr
    told = [line.partition(":")[0] for line in done.stdout.splitlines() if "no crash" in line]
    assert told == ["decoder", "node", "node with keys", "subscriber", "metrics", "control"]


def test_what_coverage_guides_asks_a_node_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    from guided import BETWEEN_PARTS, SEEDS, asking, parse

    wrong = (b"", b"\xc1", BETWEEN_PARTS * 3, bytes(4097), msgpack.packb({"version": [2, 0]}))
    inputs = (*map(pack_request, SEEDS), *wrong)
    for packed in inputs:
        parse(packed)
    with asking(tmp_path) as ask:
        for packed in inputs:
            ask(packed)
        monkeypatch.setattr("perception.control.commands.report", lambda *_: {}["missing"])
        with pytest.raises(KeyError):  # what the node does not foresee gets out
            ask(inputs[0])
