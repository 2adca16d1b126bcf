"""What happens to a segmentation before it is published: the stages after the network, in their order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby

from perception.classes import ClassTable
from perception.config import NodeConfig
from perception.pipeline import Stage
from perception.refinement.settings import CrfSettings
from perception.stages.digest import digests
from perception.stages.objects import objects
from perception.stages.refine import refined
from perception.stages.smooth import smoothed
from perception.stages.track import tracked
from perception.stages.void import void
from perception.stream import Stream
from perception.types import Scene


def judged(
    config: NodeConfig,
    streams: Sequence[Stream],
    classes: Callable[[int], ClassTable],
    *,
    wanted: Callable[[str, str], bool],
) -> Stage:
    """One stage made of all that the configuration asks for; ``wanted(stream, kind)`` says what anybody reads now.

    ``classes`` gives the class table of a scene's model by its number.
    """
    stages: list[Stage] = []
    if config.refine is not None:
        stages.append(refined(config.refine, classes, CrfSettings(weight=config.refine_weight)))
    if config.smooth:
        stages.append(smoothed())
    masks = {stream.name: stream.mask for stream in streams if stream.mask}
    if masks:
        stages.append(void(masks))

    def of_model(number: int) -> Sequence[Stage]:
        table = classes(number)
        return (
            objects(table, wanted=lambda name: wanted(name, "objects"), min_area=config.min_object_area),
            digests(table, wanted=lambda name: wanted(name, "summary")),
        )

    stages.append(_each_model(of_model))
    if config.track:
        stages.append(tracked())

    def stage(scenes: Iterable[Scene]) -> Iterator[Scene]:
        for each in stages:
            scenes = each(scenes)
        yield from scenes

    return stage


def _each_model(stages_of: Callable[[int], Sequence[Stage]]) -> Stage:
    """The stage that sends the scenes of each model through its own stages; a model's scenes come in a row."""

    def stage(scenes: Iterable[Scene]) -> Iterator[Scene]:
        for number, own in groupby(scenes, key=lambda scene: scene.model):
            judged_scenes: Iterable[Scene] = own
            for each in stages_of(number):
                judged_scenes = each(judged_scenes)
            yield from judged_scenes

    return stage
