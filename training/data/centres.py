"""What a centre head learns: a heat map of object centres, and the way from every cell to its object's centre.

Cheng et al. 2020, "Panoptic-DeepLab", section 3.2: centres of mass, Gaussians of one standard deviation for all
objects, and of overlapping Gaussians the larger value.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from perception.errors import ConfigError

CELL = 2  # pixels of the instance map along a side of a cell: maps at stride 2, cells at stride 4
UNKNOWN = 65535  # in the instance map of a crop: an object may be here that the truth does not name, or the frame ends
# Channels of the targets.
HEAT, HEAT_WEIGHT, DOWN, ACROSS, WAY_WEIGHT = range(5)

Ids = npt.NDArray[np.uint16]  # (H, W) 0 = no object, UNKNOWN, else the object's id
CentreMap = npt.NDArray[np.float32]  # (H / CELL, W / CELL, 5)


@dataclass(frozen=True, slots=True)
class CentreTargets:
    """Makes the targets of one crop from its instance map.

    Raises:
        ConfigError: a value makes no targets.
    """

    sigma: float = 1.0  # of the Gaussians, in cells
    least: int = 6  # pixels of the instance map; of smaller objects no answer is asked
    balance: float = 0.5  # a cell of an object of A pixels weighs A^-balance: at 0 large objects rule

    def __post_init__(self) -> None:
        if not 0.3 <= self.sigma <= 20:
            raise ConfigError(f"The sigma of a centre must lie within 0.3..20 cells, got {self.sigma}.")
        if self.least < 1 or not 0 <= self.balance <= 1:
            raise ConfigError(f"least must be 1 or more and balance within 0..1, got {self.least} and {self.balance}.")

    def of(self, ids: Ids) -> CentreMap:
        """(h, w, 5) f32: heat, its weight, (dy, dx) in cells from the cell to its object's centre, their weight.

        Centres are those of what can be seen in the crop, as a picture's edge cuts objects off in use too. The heat
        weighs nothing where it is unknown what there is, and inside objects that are too small.
        """
        height, width = ids.shape
        rows, columns = height // CELL, width // CELL
        targets = np.zeros((rows, columns, 5), np.float32)
        known, index, area = _numbered(ids)
        # Pixel p of the map has its middle at (p - (CELL - 1) / 2) / CELL in cells.
        y = _means(index, np.arange(height, dtype=np.float64)[:, None], area)
        x = _means(index, np.arange(width, dtype=np.float64)[None, :], area)
        counted = (known > 0) & (known != UNKNOWN) & (area >= self.least)
        for one in np.flatnonzero(counted):
            _stamp(targets[..., HEAT], y[one], x[one], self.sigma)
        # From 1, so that 0 is no object whatever the first id of a crop is: it may be full of objects.
        numbers = commonest_of_cells(np.where(counted[index], index + 1, 0))
        inside, blocks = numbers > 0, np.maximum(numbers - 1, 0)
        targets[..., HEAT_WEIGHT] = inside | (largest_of_cells((known[index] > 0) & ~counted[index]) == 0)
        targets[..., DOWN] = np.where(inside, y[blocks] - np.arange(rows)[:, None], 0)
        targets[..., ACROSS] = np.where(inside, x[blocks] - np.arange(columns)[None, :], 0)
        targets[..., WAY_WEIGHT] = np.where(inside, area[blocks].astype(np.float64) ** -self.balance, 0)
        return targets


def _numbered(ids: Ids) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """The (K,) ids that occur, (H, W) which of them each pixel has, and (K,) their pixels."""
    counts = np.bincount(ids.ravel(), minlength=UNKNOWN + 1)
    known = np.flatnonzero(counts)
    place = np.zeros(UNKNOWN + 1, np.intp)
    place[known] = np.arange(len(known))
    return known, place[ids], counts[known]


def _means(
    index: npt.NDArray[np.intp], positions: npt.NDArray[np.float64], area: npt.NDArray[np.intp]
) -> npt.NDArray[np.float64]:
    """(K,) mean position, in cells, of the pixels of each object."""
    spread = np.broadcast_to(positions, index.shape).ravel()
    total = np.bincount(index.ravel(), weights=spread, minlength=len(area))
    return np.asarray((total / area - (CELL - 1) / 2) / CELL, np.float64)


def largest_of_cells(values: npt.NDArray[np.generic]) -> npt.NDArray[np.intp]:
    """(H, W) to (H / CELL, W / CELL): the largest of each cell, so that a thin object does not fall through."""
    return np.asarray(_pixels_of_cells(values).max(axis=0), np.intp)


def commonest_of_cells(numbers: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
    """(H, W) to (H / CELL, W / CELL): of each cell the object with most of its pixels, 0 where there is none.

    A cell goes to one object as a whole. Of equals the larger number counts.
    """
    pixels = _pixels_of_cells(numbers)
    votes = (pixels[:, None] == pixels).sum(axis=1)
    return np.asarray(np.where(pixels > 0, votes * (UNKNOWN + 2) + pixels, 0).max(axis=0) % (UNKNOWN + 2), np.intp)


def _pixels_of_cells(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """(H, W) to (CELL * CELL, H / CELL, W / CELL)."""
    height, width = (side // CELL for side in values.shape)
    blocks = values[: height * CELL, : width * CELL].reshape(height, CELL, width, CELL)
    return blocks.transpose(1, 3, 0, 2).reshape(-1, height, width)


def _stamp(heat: npt.NDArray[np.float32], y: float, x: float, sigma: float) -> None:
    """Raise ``heat`` to a Gaussian about the cell that holds (y, x): its peak is 1, exactly on that cell."""
    row, column = (int(np.clip(round(at), 0, side - 1)) for at, side in zip((y, x), heat.shape))
    reach = int(np.ceil(4 * sigma))
    top, left = max(0, row - reach), max(0, column - reach)
    window = heat[top : row + reach + 1, left : column + reach + 1]
    dy, dx = np.ogrid[top : top + window.shape[0], left : left + window.shape[1]]
    np.maximum(window, np.exp(-((dy - row) ** 2 + (dx - column) ** 2) / (2 * sigma**2)), out=window)
