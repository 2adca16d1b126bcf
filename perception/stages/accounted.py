"""What becomes of the frames that a stage holds when the engine fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from perception.errors import EngineError
from perception.ledger import Ledger
from perception.pipeline import Stop
from perception.stages.segment import Sets
from perception.types import Scene


def accounted(
    stage: Callable[[Sets], Iterator[Scene]], sets: Sets, ledgers: Mapping[str, Ledger], *, stop: Stop
) -> Iterator[Scene]:
    """The scenes of a stage; those that it holds when the engine fails are counted as ``engine_error``.

    Not once ``stop`` is set: then the engine was closed to end the node, and they are left in flight.
    """
    held: set[tuple[str, int]] = set()

    def entering() -> Iterator[Sequence[Scene]]:
        for scenes in sets:
            held.update((scene.frame.stream, scene.frame.number) for scene in scenes)
            yield scenes

    try:
        for scene in stage(entering()):
            held.discard((scene.frame.stream, scene.frame.number))
            yield scene
    except EngineError:
        if stop.is_set():
            raise
        for name, number in sorted(held.copy()):
            ledgers[name].drop(number, "engine_error")
        raise
