"""Lovász-softmax: the intersection over union itself as a loss (Berman, Triki, Blaschko 2018)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from keras import ops

from training.data.taxonomy import CAMVID_SETS, CLASSES, membership
from training.losses.sets import Tensor

# A step on 10 crops of 384x288 takes 1.2 s on two cores. Sorting the errors of all their 276480 label pixels
# for each of the 25 groups would add 3 s and more; of every seventh, 0.06 s.
SAMPLING = 7  # a prime: it shares no factor with the width of a map, so that no column is preferred
_SMALLEST_SAMPLED = 4096  # pixels; of smaller maps every pixel is taken

GROUPS: tuple[tuple[int, ...], ...] = (
    *((train_id,) for train_id in range(CLASSES)),
    *(members for members in CAMVID_SETS if len(members) > 1),
)
_OUTSIDE, _INSIDE, _NEITHER = 0.0, 1.0, -1.0


def _group_matrix() -> npt.NDArray[np.float32]:
    """(19, G): 1 where a train id belongs to a group."""
    matrix = np.zeros((CLASSES, len(GROUPS)), np.float32)
    for column, members in enumerate(GROUPS):
        matrix[list(members), column] = 1
    return matrix


def _relations() -> npt.NDArray[np.float32]:
    """(256, 2 G): whether a label value lies in, outside or across each group, and whether it is exactly that group."""
    sets, groups = membership(), _group_matrix()
    common = sets @ groups
    size = sets.sum(axis=1, keepdims=True)
    lies = np.full(common.shape, _NEITHER, np.float32)
    lies[(common == 0) & (size > 0)] = _OUTSIDE
    lies[(common == size) & (size > 0)] = _INSIDE
    exactly = (lies == _INSIDE) & (size == groups.sum(axis=0))
    return np.hstack([lies, exactly]).astype(np.float32)


_GROUP_MATRIX = _group_matrix()
_RELATIONS = _relations()


def lovasz_softmax(labels: Tensor, logits: Tensor, *, sampling: int = SAMPLING) -> Tensor:
    """Mean over the groups that occur in the batch of the Lovász extension of 1 - IoU; a scalar.

    ``labels`` (B, H, W) are label values, ``logits`` (B, H, W, 19). A group is one of the 19 classes or one
    of the coarse sets, whose probability is the sum over its members. For each group a pixel counts as
    inside if its label's set is contained in the group, as outside if they share no class, and not at all
    if the label leaves it open; so a coarse label teaches by its own group, and as background of others.
    A group occurs if some pixel's label says exactly that.

    All images of the batch make one set of pixels (section 3.3 of the paper). Of large maps, every
    ``sampling``-th pixel is taken; where it starts depends on the labels, so that it varies from batch to
    batch and a repeated run sees the same.
    """
    values, chosen = _sample(ops.cast(labels, "int32"), logits, sampling)
    relations = ops.transpose(ops.take(ops.convert_to_tensor(_RELATIONS), values, axis=0))  # (2 G, P)
    lies, exactly = relations[: len(GROUPS)], relations[len(GROUPS) :]
    inside = ops.cast(lies == _INSIDE, "float32")
    members = ops.transpose(ops.softmax(chosen, axis=-1) @ ops.convert_to_tensor(_GROUP_MATRIX))  # (G, P)
    # A pixel that does not count has no error: it is sorted last and adds nothing.
    errors = ops.where(lies == _NEITHER, 0.0, ops.abs(inside - members))
    order = ops.argsort(-ops.stop_gradient(errors), axis=-1)
    slopes = _jaccard_slopes(ops.take_along_axis(inside, order, axis=-1))
    losses = ops.sum(ops.take_along_axis(errors, order, axis=-1) * slopes, axis=-1)
    occurs = ops.max(exactly, axis=-1)
    return ops.sum(losses * occurs) / ops.maximum(ops.sum(occurs), 1.0)


def _sample(labels: Tensor, logits: Tensor, sampling: int) -> tuple[Tensor, Tensor]:
    """(P,) label values and their (P, 19) logits."""
    pixels = labels.shape[1] * labels.shape[2]
    flat_labels, flat_logits = ops.reshape(labels, (-1, pixels)), ops.reshape(logits, (-1, pixels, CLASSES))
    if sampling > 1 and pixels > _SMALLEST_SAMPLED:
        kept = pixels // sampling
        start = ops.sum(labels) % sampling
        flat_labels = ops.reshape(flat_labels[:, : kept * sampling], (-1, kept, sampling))
        flat_logits = ops.reshape(flat_logits[:, : kept * sampling], (-1, kept, sampling, CLASSES))
        flat_labels, flat_logits = ops.take(flat_labels, start, axis=2), ops.take(flat_logits, start, axis=2)
    return ops.reshape(flat_labels, (-1,)), ops.reshape(flat_logits, (-1, CLASSES))


def _jaccard_slopes(inside: Tensor) -> Tensor:
    """(G, P): by how much 1 - IoU grows when pixels, in this order, become wrong (algorithm 1 of the paper)."""
    total = ops.sum(inside, axis=-1, keepdims=True)
    intersection = total - ops.cumsum(inside, axis=-1)
    union = total + ops.cumsum(1.0 - inside, axis=-1)
    jaccard = 1.0 - intersection / union
    return ops.concatenate([jaccard[:, :1], jaccard[:, 1:] - jaccard[:, :-1]], axis=-1)
