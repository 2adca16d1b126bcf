"""How likely a track goes on as an object, by boxes and by masks, and who goes on as whom."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from perception.types import IdMap

Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.intp]


def box_overlap(tracks: Floats, objects: Floats, margin: Floats) -> Floats:
    """(T, N) intersection over union of (T, 4) and (N, 4) boxes x0 y0 x1 y1, both enlarged by the track's margin.

    The (T, 2) margins say how far a track may be off in x and y: boxes that do not meet can then be told near from far
    (as Yang et al. 2023, "Hard to Track Objects with Irregular Motions and Similar Appearances?", section 3.2,
    with the filter's own doubt in place of a constant).
    """
    low = np.maximum(tracks[:, None, :2], objects[:, :2]) - margin[:, None]
    high = np.minimum(tracks[:, None, 2:], objects[:, 2:]) + margin[:, None]
    common = np.clip(high - low, 0, None).prod(axis=-1)
    own = (tracks[:, 2:] - tracks[:, :2] + 2 * margin).prod(axis=-1)
    others = (objects[:, 2:] - objects[:, :2] + 2 * margin[:, None]).prod(axis=-1)
    total = own[:, None] + others - common
    return np.asarray(np.divide(common, total, out=np.zeros_like(common), where=total > 0), np.float64)


def best_first(affinity: Floats, least: float) -> tuple[Rows, Rows]:
    """Pairs of rows and columns of a (T, N) table by falling affinity, each row and each column once.

    Pairs below ``least`` are none; of equal ones the first row, then the first column, comes first. The best
    sum of all pairs would need a solver: on the drives of ``benchmarks/tracking.py`` it gained half a point of IDF1.
    """
    rows, columns = np.nonzero(affinity >= least)
    order = np.argsort(-affinity[rows, columns], kind="stable").tolist()
    row_free, column_free = [True] * affinity.shape[0], [True] * affinity.shape[1]
    chosen = []
    for k, row, column in zip(order, rows[order].tolist(), columns[order].tolist()):
        if row_free[row] and column_free[column]:
            row_free[row] = column_free[column] = False
            chosen.append(k)
    return rows[chosen], columns[chosen]


class LastMasks:
    """The masks of the last frame, to be laid over those of the next.

    Every second pixel of every second row is looked at: shares of areas come out nearly the same, at a quarter of the
    cost.
    """

    def __init__(self) -> None:
        self._tracks: npt.NDArray[np.int64] = np.zeros(0, np.int64)
        self._shape: tuple[int, ...] = ()
        self._ids: IdMap | None = None

    def show(self, ids: IdMap | None, tracks: npt.NDArray[np.int64]) -> None:
        """Keep an (h, w) map of N objects and their (N,) tracks; None where masks overlap."""
        self._shape = () if ids is None else ids.shape
        self._ids = None if ids is None else _thinned(ids)
        self._tracks = tracks

    def overlap(self, tracks: npt.NDArray[np.int64], ids: IdMap | None, objects: Rows) -> Floats:
        """(T, N) intersection over union of the last masks of T tracks with N objects of an (h, w) map.

        Object k has the value k + 1 there. Places are those of the map: nothing is moved to where it should be by
        now. Zero for tracks that were not in the last frame, and for a map of another size.
        """
        table = np.zeros((len(tracks), len(objects)))
        if ids is None or self._ids is None or ids.shape != self._shape or not table.size:
            return table
        row_of = {track: row for row, track in enumerate(tracks.tolist(), 1)}
        rows = np.array([0] + [row_of.get(track, 0) for track in self._tracks.tolist()])
        now = _thinned(ids)
        columns = np.zeros(max(int(now.max()), int(objects.max()) + 1) + 1, np.intp)
        columns[objects + 1] = np.arange(1, len(objects) + 1)
        # Row 0 and column 0 are whatever belongs to no object that is asked for.
        width = len(objects) + 1
        cells = (rows * width).take(self._ids) + columns.take(now)
        met = np.bincount(cells.ravel(), minlength=(len(tracks) + 1) * width).reshape(-1, width)
        shared = met[1:, 1:]
        total = met[1:].sum(axis=1)[:, None] + met[:, 1:].sum(axis=0) - shared
        return np.asarray(np.divide(shared, total, out=table, where=total > 0), np.float64)


def _thinned(ids: IdMap) -> IdMap:
    return np.ascontiguousarray(ids[::2, ::2])
