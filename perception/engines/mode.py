"""How an engine spends the cores: many batches at once, or one batch as fast as possible."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Literal, get_args

Mode = Literal["throughput", "latency"]
Device = Literal["auto", "cpu", "cuda"]
MODES: tuple[Mode, ...] = get_args(Mode)
DEVICES: tuple[Device, ...] = get_args(Device)


@dataclass(frozen=True, slots=True)
class Workers:
    """``parallel`` batches at the same time, each on ``threads`` threads."""

    parallel: int
    threads: int

    def describe(self) -> str:
        """For the sentence that says how an engine runs."""
        runs = "1 run at a time" if self.parallel == 1 else f"{self.parallel} runs at a time"
        return f"{runs} on {self.threads} thread{'s'[: self.threads != 1]} each"


def workers_for(mode: Mode, threads: int | None = None) -> Workers:
    """Divide ``threads`` cores, by default all that this process may use."""
    cores = threads or usable_cores()
    return Workers(cores, 1) if mode == "throughput" else Workers(1, cores)


def usable_cores() -> int:
    """Cores that this process may run on: fewer than the machine has where an affinity mask says so."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
