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
    """The masks of the last frame, to be laid over those of the next."""

    def __init__(self) -> None:
        self._tracks: npt.NDArray[np.int64] = np.zeros(0, np.int64)
        self._areas: npt.NDArray[np.int64] = np.zeros(0, np.int64)
        self._pixels: Rows = np.zeros(0, np.intp)
        self._objects: npt.NDArray[np.int64] = np.zeros(0, np.int64)
        self._shape: tuple[int, ...] = ()

    def show(self, ids: IdMap | None, tracks: npt.NDArray[np.int64]) -> None:
        """Keep an (h, w) map of N objects and their (N,) tracks; None where masks overlap."""
        flat = np.zeros(0, np.uint16) if ids is None else ids.ravel()
        self._shape = () if ids is None else ids.shape
        self._pixels = np.flatnonzero(flat)
        self._objects = flat[self._pixels].astype(np.int64) - 1
        self._areas = np.bincount(self._objects, minlength=len(tracks))
        self._tracks = tracks

    def overlap(self, tracks: npt.NDArray[np.int64], ids: IdMap | None, objects: Rows) -> Floats:
        """(T, N) intersection over union of the last masks of T tracks with N objects of an (h, w) map.

        Object k has the value k + 1 there. Places are those of the map: nothing is moved to where it should be by
        now. Zero for tracks that were not in the last frame, and for a map of another size.
        """
        count = len(objects)
        table = np.zeros((len(tracks), count))
        if ids is None or ids.shape != self._shape or not len(tracks) or not count:
            return table
        row_of = {track: row for row, track in enumerate(tracks.tolist())}
        rows = np.array([row_of.get(track, -1) for track in self._tracks.tolist()] + [-1])
        flat = ids.ravel()
        column_of = np.full(np.iinfo(ids.dtype).max + 1, -1)
        column_of[objects + 1] = np.arange(count)
        areas = np.bincount(flat, minlength=len(column_of))[objects + 1]
        now, before = column_of[flat[self._pixels]], rows[self._objects]
        met = (now >= 0) & (before >= 0)
        shared = np.bincount(before[met] * count + now[met], minlength=table.size).reshape(table.shape)
        of_row = np.zeros(len(tracks))
        of_row[rows[:-1][rows[:-1] >= 0]] = self._areas[rows[:-1] >= 0]
        total = of_row[:, None] + areas - shared
        return np.divide(shared, total, out=table, where=total > 0)
