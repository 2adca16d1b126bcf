"""The multi-task loss (He et al. 2017, section 3): of proposals, classes, boxes and masks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from keras import ops

from training.mask_rcnn.boxes import encode
from training.mask_rcnn.sampling import Sampled, mask_targets, sample
from training.mask_rcnn.settings import BOX_WEIGHTS, THINGS
from training.mask_rcnn.targets import TargetLayout

if TYPE_CHECKING:
    from training.mask_rcnn.network import MaskRCNN

Tensor = Any
_ROUND = 1 / 9  # up to this error the box losses are quadratic


def detector_loss(model: MaskRCNN, levels: list[Tensor], layout: TargetLayout, vectors: Tensor) -> dict[str, Tensor]:
    """Five scalars, f32, each a mean over what was sampled: objectness, proposal, class, box and mask.

    Args:
        levels: the five maps of the pyramid.
        vectors: packed targets (B, L).
    """
    rows, objects, drawn = layout.unpack(ops.cast(vectors, "float32"), ops)
    anchors, logits, codes = model.first_stage(levels)
    proposals, _ = model.propose(anchors, logits, codes, (layout.size[1], layout.size[0]))
    sampled = sample(proposals, objects, drawn)
    class_logits, box_codes = model.read_boxes(levels, sampled.boxes)
    positives = sampled.positives
    mask_logits = model.read_masks(levels, sampled.boxes[:, :positives])
    return {
        **_first_stage(logits, codes, rows),
        **_second_stage(class_logits, box_codes, sampled),
        "mask": _mask(mask_logits, mask_targets(sampled, drawn), sampled),
    }


def _first_stage(logits: Tensor, codes: Tensor, rows: Tensor) -> dict[str, Tensor]:
    index = ops.cast(rows[..., 0], "int32")
    used, positive = ops.cast(rows[..., 1] > -0.5, "float32"), ops.cast(rows[..., 1] > 0.5, "float32")
    chosen = ops.take_along_axis(logits, index, axis=1)
    wrong = ops.softplus(chosen) - chosen * positive  # binary cross-entropy of a logit
    answers = ops.take_along_axis(codes, ops.expand_dims(index, -1), axis=1)
    count = ops.maximum(ops.sum(used), 1.0)
    return {
        "objectness": ops.sum(used * wrong) / count,
        "proposal": ops.sum(positive * _smooth(answers - rows[..., 2:])) / count,
    }


def _second_stage(logits: Tensor, codes: Tensor, sampled: Sampled) -> dict[str, Tensor]:
    truth = ops.one_hot(sampled.classes, 1 + THINGS, dtype="float32")
    wrong = -ops.sum(truth * ops.log_softmax(logits, axis=-1), axis=-1)
    wanted = encode(sampled.owners, sampled.boxes, ops, BOX_WEIGHTS)
    positive = sampled.weights * ops.cast(sampled.classes > 0, "float32")
    count = ops.maximum(ops.sum(sampled.weights), 1.0)
    off = ops.where(ops.expand_dims(positive > 0, -1), codes - wanted, 0.0)  # elsewhere there is no box to code
    return {"class": ops.sum(sampled.weights * wrong) / count, "box": ops.sum(positive * _smooth(off)) / count}


def _mask(logits: Tensor, truth: Tensor, sampled: Sampled) -> Tensor:
    """Binary cross-entropy of the mask of the true class alone: classes do not compete (He 2017, section 3)."""
    positives = sampled.positives
    classes = sampled.classes[:, :positives]
    own = ops.one_hot(ops.maximum(classes - 1, 0), THINGS, dtype="float32")[:, :, None, None, :]
    chosen = ops.sum(logits * own, axis=-1)
    wrong = ops.mean(ops.softplus(chosen) - chosen * truth, axis=(2, 3))
    weight = sampled.weights[:, :positives] * ops.cast(classes > 0, "float32")
    return ops.sum(weight * wrong) / ops.maximum(ops.sum(weight), 1.0)


def _smooth(error: Tensor) -> Tensor:
    """(...,) the smooth L1 distance (Girshick 2015, equation 3), summed over the last axis."""
    size = ops.abs(error)
    return ops.sum(ops.where(size < _ROUND, error**2 / (2 * np.float32(_ROUND)), size - _ROUND / 2), axis=-1)
