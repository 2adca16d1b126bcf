"""Refine: labels that follow the edges of the picture, by a dense CRF, before anything is cut out of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

import numpy as np

from perception.classes import ClassTable
from perception.pipeline import Stage
from perception.refinement.mean_field import refine
from perception.refinement.reference import load_reference, refine_by_reference
from perception.refinement.settings import CrfSettings, Refinement
from perception.stages.prepare import prepare
from perception.types import Scene, Segmentation


def refined(how: Refinement, classes: Callable[[int], ClassTable], settings: CrfSettings | None = None) -> Stage:
    """The stage that refines every segmentation by the frame it belongs to.

    It works at the size of the maps. ``classes`` gives the class table of a scene's model by its number. Where the
    model told objects apart, pixels that change their label leave their object, so that inside an object all
    labels stay the same.

    Raises:
        ConfigError: ``how`` is the reference, and its library is not installed.
    """
    if how == "crf-reference":
        load_reference()
    chosen = settings or CrfSettings()

    def stage(scenes: Iterable[Scene]) -> Iterator[Scene]:
        for scene in scenes:
            found = scene.segmentation
            if found is None:
                yield scene
                continue
            height, width = found.labels.shape
            image = prepare(scene.frame.image, (width, height))
            table = classes(scene.model)
            if how == "crf":
                better = refine(found, image, chosen, classes=len(table))
            else:
                better = refine_by_reference(found, image, class_ids=[row.id for row in table.rows])
            yield replace(scene, segmentation=relabelled(found, better)).lap("refine")

    return stage


def relabelled(before: Segmentation, after: Segmentation) -> Segmentation:
    """The maps ``after`` with the objects of ``before``, less the pixels whose label is another now."""
    ids = before.ids
    if ids is not None:
        ids = np.where(after.labels == before.labels, ids, np.int32(0))
    return replace(before, labels=after.labels, confidence=after.confidence, ids=ids, probabilities=None)
