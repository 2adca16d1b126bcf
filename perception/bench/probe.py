"""What the engine is and what it answers, told by a process of its own: an engine leaves threads and memory behind.

python -m perception.bench.probe TASK ANSWERS.npz
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from perception.bench.task import Task, tell
from perception.errors import SourceError
from perception.ledger import Ledger
from perception.sources import open_source
from perception.stages.prepare import prepare

RECORDED_FRAMES = 60  # they come again and again, so that the file stays small
# Engines that make their answers up: a node without its network would be the same node again.
WITHOUT_NETWORK = ("recorded", "simulated")


def probe(task: Task, answers: Path) -> Mapping[str, Any]:
    """What the engine is; where it computes, its answers on the first frames go into the file ``answers``."""
    with closing(task.open_engine()) as engine, closing(open_source(task.config.source)) as source:
        recorded: list[Mapping[str, Any]] = []
        computes, size = engine.name not in WITHOUT_NETWORK, (0, 0)
        for frame in islice(source.frames(Ledger()), min(RECORDED_FRAMES, task.needed) if computes else 1):
            size = task.network_size(engine.spec, frame.size)
            recorded.append(engine.submit(prepare(frame.image, size)[None]).result())
        if not recorded:
            raise SourceError(f"Not one frame of {task.config.source!r} can be read.")
        if computes:
            arrays: dict[str, Any] = {name: np.concatenate([each[name] for each in recorded]) for name in recorded[0]}
            np.savez(answers, **arrays)
        spec = engine.spec
        return {
            "engine": engine.name,
            "engine_reason": engine.reason,
            "mode": task.mode,
            "slots": engine.slots,
            "model": {"id": spec.id, "sha256": spec.sha256, "precision": spec.precision},
            "network_size": size,
        }


if __name__ == "__main__":
    sys.exit(tell(lambda: probe(Task.from_word(sys.argv[1]), Path(sys.argv[2]))))
