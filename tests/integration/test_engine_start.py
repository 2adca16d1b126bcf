"""Engines started in fresh processes, where a library's own first steps may race."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tiny_model import write_model

STARTS = 5
SCRIPT = """
import sys
from pathlib import Path
import numpy as np
from perception.engines.open import open_engine
engine = open_engine(sys.argv[1], Path(sys.argv[2]), mode="throughput", threads=2)
pending = [engine.submit(np.zeros((1, 64, 96, 3), np.uint8)) for _ in range(engine.slots)]
print([batch.result()["labels"].shape for batch in pending])
engine.close()
"""


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_the_first_frames_may_come_together(engine: str, tmp_path: Path) -> None:
    pytest.importorskip(engine, reason=f"{engine} is not installed")
    model = tmp_path / "tiny.onnx"
    write_model(model)
    for _ in range(STARTS):  # two runs that begin at once in OpenVINO's binding once hung a third of the time
        command = [sys.executable, "-c", SCRIPT, engine, str(model)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=100)
        assert done.returncode == 0, done.stderr
        assert "(1, 64, 96)" in done.stdout
