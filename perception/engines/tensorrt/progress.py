"""How far a build is: TensorRT reports phases within phases, a user wants a share and a remaining time."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from perception.engines.tensorrt.library import Library

_TELLING = 0.05  # below this share a remaining time is a guess about nothing
_TELLING_S = 2.0  # and so it is before this much time


@dataclass
class _Phase:
    name: str
    steps: int
    done: int = 0
    inside: list[_Phase] = field(default_factory=list)

    def share(self) -> float:
        running = sum(phase.share() for phase in self.inside) / max(1, len(self.inside))
        return min(1.0, (self.done + min(1.0, running)) / max(1, self.steps))


class BuildProgress:
    """What TensorRT has told of a build so far.

    Args:
        show: is called with one line at every change of the shown percentage or phase.
        cancelled: is asked at every step; once true, TensorRT ends the build.
    """

    def __init__(
        self,
        show: Callable[[str], None] = lambda _: None,
        cancelled: Callable[[], bool] = lambda: False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._show = show
        self._cancelled = cancelled
        self._clock = clock
        self._started = clock()
        self._root: _Phase | None = None
        self._open: dict[str, _Phase] = {}
        self._shown = ""
        self._highest = 0.0

    def phase_start(self, name: str, parent: str | None, steps: int) -> None:
        """A phase begins, inside another or as the outermost."""
        phase = _Phase(name, steps)
        self._open[name] = phase
        if parent in self._open:
            self._open[parent].inside.append(phase)
        elif self._root is None:
            self._root = phase
        self._tell(name)

    def step_complete(self, name: str, step: int) -> bool:
        """A step of a phase is done; False asks TensorRT to end the build."""
        if name in self._open:
            self._open[name].done = max(self._open[name].done, step + 1)
            self._open[name].inside.clear()  # what ran inside is part of the step now
            self._tell(name)
        return not self._cancelled()

    def phase_finish(self, name: str) -> None:
        """A phase ends, whether all its steps were reported or not."""
        phase = self._open.pop(name, None)
        if phase is not None:
            phase.done = phase.steps
            phase.inside.clear()
            self._tell(name)

    def share(self) -> float:
        """0..1, never going back."""
        self._highest = max(self._highest, self._root.share() if self._root else 0.0)
        return self._highest

    def remaining_s(self) -> float | None:
        """Seconds until the end if it goes on at this pace; None while that cannot be told."""
        share, elapsed = self.share(), self._clock() - self._started
        return None if share < _TELLING or elapsed < _TELLING_S else elapsed * (1 - share) / share

    def _tell(self, name: str) -> None:
        remaining = self.remaining_s()
        left = "" if remaining is None else f", about {_duration(remaining)} left"
        line = f"compiling: {self.share():.0%}{left}: {name.lower()}"
        if line != self._shown:
            self._shown = line
            self._show(line)


def _duration(seconds: float) -> str:
    whole = round(seconds)
    return f"{whole} s" if whole < 100 else f"{whole // 60} min {whole % 60} s"


def make_monitor(library: Library, progress: BuildProgress) -> Any:
    """The progress as an ``IProgressMonitor`` of this library."""

    class Monitor(library.module.IProgressMonitor):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            library.module.IProgressMonitor.__init__(self)

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            progress.phase_start(phase_name, parent_phase, num_steps)

        def step_complete(self, phase_name: str, step: int) -> bool:
            return progress.step_complete(phase_name, step)

        def phase_finish(self, phase_name: str) -> None:
            progress.phase_finish(phase_name)

    return Monitor()
