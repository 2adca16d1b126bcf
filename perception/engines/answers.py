"""What a model answers, held against the graph contract (``perception.engines.contract``) batch by batch."""

from __future__ import annotations

import numpy as np

from perception.engines.contract import DETECTIONS, divides
from perception.engines.engine import ModelSpec, Outputs
from perception.errors import EngineError


def check_outputs(spec: ModelSpec, frames: tuple[int, ...], outputs: Outputs) -> None:
    """Raise EngineError unless the label maps fit the frames, of shape (N, H, W, 3), they were computed from."""
    count, height, width, _ = frames
    if "image" in outputs:  # what the network behind an enhancement saw
        height, width = _size_of_image(spec, frames, outputs["image"].shape)
    if "ids" in outputs:
        _check_ids(spec, outputs)
    if "boxes" in outputs:
        _check_detections(spec, count, outputs)
    if "probabilities" in outputs:
        _check_probabilities(spec, outputs["probabilities"].shape, outputs["labels"].shape)
    for name in ("labels", "confidence"):
        shape = outputs[name].shape if name in outputs else (count, height, width)
        if len(shape) != 3 or shape[0] != count or 0 in shape or not divides(shape[1:], (width, height)):
            raise EngineError(
                f"The model {spec.id!r} answered {count} frames of {width}x{height} with {name!r} of shape {shape}, "
                "which is not the same whole fraction of the frame in both directions. Export the model again."
            )


def _size_of_image(spec: ModelSpec, frames: tuple[int, ...], image: tuple[int, ...]) -> tuple[int, int]:
    """(H', W') of an enhanced picture, which must be as many times as high as the frame as it is wide."""
    count, height, width, _ = frames
    if len(image) != 4 or (image[0], image[3]) != (count, 3) or not divides((height, width), (image[2], image[1])):
        raise EngineError(
            f"The model {spec.id!r} answered {count} frames of {width}x{height} with an 'image' of shape {image}, "
            "which is not the same whole multiple of the frame in both directions. Export the enhancement again."
        )
    return image[1], image[2]


def _check_detections(spec: ModelSpec, count: int, outputs: Outputs) -> None:
    shapes = {name: outputs[name].shape for name in DETECTIONS if name in outputs}
    each = shapes["boxes"][1:2]
    wanted = {"boxes": (count, *each, 4), "scores": (count, *each), "class_ids": (count, *each)}
    fits = len(shapes) == len(DETECTIONS) and all(shapes[name] == shape for name, shape in wanted.items())
    if not fits or len(shapes["masks"]) != 4 or shapes["masks"][:2] != shapes["scores"] or 0 in shapes["masks"][2:]:
        text = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise EngineError(
            f"The model {spec.id!r} answered {count} frames with {text}, which do not belong together. "
            "Export the model again."
        )
    if not all(np.isfinite(outputs[name]).all() for name in ("boxes", "scores", "masks")):
        raise EngineError(
            f"The model {spec.id!r} answered with boxes, scores or masks that are no numbers. Train it again."
        )


def _check_probabilities(spec: ModelSpec, shape: tuple[int, ...], labels: tuple[int, ...]) -> None:
    highest = max((row.id for row in spec.classes.rows), default=-1)
    if len(shape) != 4 or (shape[0], *shape[2:]) != labels or shape[1] <= highest:
        raise EngineError(
            f"The model {spec.id!r} answered with 'probabilities' of shape {shape} to 'labels' of {labels} and class "
            f"ids up to {highest}; there must be a channel for each id. Export the model again."
        )


def _check_ids(spec: ModelSpec, outputs: Outputs) -> None:
    ids, scores, labels = outputs["ids"], outputs["id_scores"], outputs["labels"]
    if ids.shape != labels.shape or len(scores) != len(ids):
        raise EngineError(
            f"The model {spec.id!r} answered with 'ids' of shape {ids.shape} and 'id_scores' of {scores.shape} "
            f"to 'labels' of {labels.shape}. Export the model again."
        )
    if ids.size and (ids.min() < 0 or ids.max() > scores.shape[1]):
        raise EngineError(
            f"The model {spec.id!r} answered with ids {ids.min()}..{ids.max()}, but scores of 1..{scores.shape[1]}. "
            "Export the model again."
        )
    if not ((scores >= 0) & (scores <= 1)).all():  # nor where they are no numbers
        raise EngineError(
            f"The model {spec.id!r} answered with 'id_scores' of {scores.min()}..{scores.max()}; they must be "
            "probabilities, 0 to 1. Export the model again."
        )
