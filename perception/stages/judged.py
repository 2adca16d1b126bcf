"""What happens to a segmentation before it is published: the stages after the network, in their order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from perception.classes import ClassTable
from perception.config import NodeConfig
from perception.pipeline import Stage
from perception.stages.digest import digests
from perception.stages.objects import objects
from perception.stages.void import void
from perception.stream import Stream
from perception.types import Scene


def judged(
    config: NodeConfig, streams: Sequence[Stream], classes: ClassTable, *, wanted: Callable[[str, str], bool]
) -> Stage:
    """One stage made of all that the configuration asks for; ``wanted(stream, kind)`` says what anybody reads now."""
    stages: list[Stage] = []
    masks = {stream.name: stream.mask for stream in streams if stream.mask}
    if masks:
        stages.append(void(masks))
    stages.append(objects(classes, wanted=lambda name: wanted(name, "objects"), min_area=config.min_object_area))
    stages.append(digests(classes, wanted=lambda name: wanted(name, "summary")))

    def stage(scenes: Iterable[Scene]) -> Iterator[Scene]:
        for each in stages:
            scenes = each(scenes)
        yield from scenes

    return stage
