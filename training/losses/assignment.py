"""Whether cells go to the centre of their own object: the decision that grouping takes, as a loss.

Grouping gives a cell to the centre nearest to where it points. A plain distance to the true centre is silent about
that: it asks as much of a cell in the middle of a lone car as of one between two cars, where the neighbour is near.
Here the distances to all centres are the logits of a soft-max, and the own centre is the class to be hit. Neven et
al. 2019, "Instance Segmentation by Jointly Optimizing Spatial Embeddings and Clustering Bandwidth", section 3, have
the same aim by a mask of every object.
"""

from __future__ import annotations

from keras import ops

from training.data.centres import ACROSS, DOWN, HEAT, HEAT_WEIGHT, WAY_WEIGHT
from training.losses.sets import Tensor

PEAK = 0.999  # heat of the cell that holds a centre
_MOST = 48  # centres a crop, of its objects first; cells of further objects do not count
_RIVAL = 0.2  # probability from which a peak of the network's own is a centre that may take cells away
_SHARPNESS = 2.0  # of the soft-max, per cell of distance
_FAR = 1e4  # cells: no centre


def assignment(targets: Tensor, heat: Tensor, offsets: Tensor) -> Tensor:
    """Cross-entropy of the centres to which cells go, scalar f32, the mean over the cells of objects.

    Centres are those of the objects, and the peaks of the network's own heat map where it is known that no object has
    its centre: they take a part of an object away in use, too. The heat map learns nothing from it.

    Args:
        targets: (B, h, w, 5) f32 of ``CentreTargets``.
        heat: (B, h, w) f32 logits of the heat map.
        offsets: (B, h, w, 2) f32, (dy, dx) in cells.
    """
    rows, columns, true = _centres(targets, ops.stop_gradient(heat))
    here = _positions(targets)
    aim = _flat(here + targets[..., DOWN : ACROSS + 1])  # (B, cells, 2): DOWN and ACROSS are neighbours
    to_true = _distances(aim, rows, columns) + _FAR * (1 - true)[:, None, :]
    own, listed = ops.argmin(to_true, axis=-1), ops.cast(ops.min(to_true, axis=-1) < 1, "float32")
    logits = -_SHARPNESS * _distances(_flat(here + offsets), rows, columns)
    missed = ops.logsumexp(logits, axis=-1) - ops.sum(logits * ops.one_hot(own, _MOST), axis=-1)
    weight = ops.reshape(targets[..., WAY_WEIGHT], ops.shape(missed)) * listed
    return ops.sum(weight * missed) / ops.maximum(ops.sum(weight), 1e-6)


def _centres(targets: Tensor, heat: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(B, most) row and column of the centres, far away where there are no more, and 1 for those of objects."""
    peaks = ops.cast(targets[..., HEAT] > PEAK, "float32")
    around = ops.max_pool(peaks[..., None], 5, 1, "same")[..., 0]
    probability = ops.sigmoid(heat) * ops.cast(targets[..., HEAT_WEIGHT] > 0, "float32")
    highest = ops.max_pool(probability[..., None], 3, 1, "same")[..., 0]
    rival = (probability >= highest) & (probability > _RIVAL) & (around < 0.5)
    worth = 2 * peaks + ops.where(rival, probability, 0.0)
    shape = ops.shape(worth)
    values, places = ops.top_k(ops.reshape(worth, (shape[0], shape[1] * shape[2])), _MOST)
    nothing = _FAR * ops.cast(values <= 0, "float32")
    rows, columns = ops.floor_divide(places, shape[2]), ops.mod(places, shape[2])
    return (
        ops.cast(rows, "float32") + nothing,
        ops.cast(columns, "float32") + nothing,
        ops.cast(values > 1.5, "float32"),
    )


def _positions(maps: Tensor) -> Tensor:
    """(1, h, w, 2) f32 row and column of every cell."""
    shape = ops.shape(maps)
    rows, columns = (ops.arange(shape[axis], dtype="float32") for axis in (1, 2))
    return ops.stack(ops.meshgrid(rows, columns, indexing="ij"), axis=-1)[None]


def _flat(points: Tensor) -> Tensor:
    shape = ops.shape(points)
    return ops.reshape(points, (shape[0], shape[1] * shape[2], 2))


def _distances(points: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """(B, cells, most) cells between points (B, cells, 2) and centres; its slope at distance 0 is 0, not infinite."""
    down, across = points[..., :1] - rows[:, None], points[..., 1:] - columns[:, None]
    return ops.sqrt(ops.square(down) + ops.square(across) + 1e-4)
