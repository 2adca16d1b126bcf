"""Pixel geometry between the source frame, the network's input and the maps that come out.

The centre of pixel (0, 0) is (0.0, 0.0), so the left edge of an image lies at -0.5.
"""

from __future__ import annotations

from functools import lru_cache

from perception.types import Size

AREA_TOLERANCE = 0.15  # of the pixel budget

Affine = tuple[float, float, float, float, float, float]  # row-major 2x3


def resize_affine(size: Size, source_size: Size) -> Affine:
    """The 2x3 map from pixels of a resized map to pixels of its source, both given as (w, h).

    With s = source / size per axis, a plain resize maps centre x to s x + (s - 1) / 2.
    """
    sx, sy = source_size[0] / size[0], source_size[1] / size[1]
    return (sx, 0.0, (sx - 1) / 2, 0.0, sy, (sy - 1) / 2)


def apply_affine(affine: Affine, x: float, y: float) -> tuple[float, float]:
    """The image of one point."""
    a, b, c, d, e, f = affine
    return a * x + b * y + c, d * x + e * y + f


@lru_cache(maxsize=64)  # asked for every frame
def fit_size(source_size: Size, pixels: int, multiple: int = 32) -> Size:
    """The (w, h) in multiples of ``multiple`` nearest to the source's aspect ratio with about ``pixels`` pixels.

    Among all sizes whose area lies within 15 % of the budget, the one with the smallest aspect error
    wins, then the one whose area is nearest to the budget. A frame so long and thin that no such size
    keeps its aspect is squeezed rather than let grow beyond the budget.
    """
    aspect = source_size[0] / source_size[1]
    ideal_height = (pixels / aspect) ** 0.5
    best: tuple[float, float, Size] | None = None
    steps = range(1, max(2, int(2 * ideal_height / multiple) + 2))
    for rows in steps:
        within_budget = round(pixels / (rows * multiple * multiple))
        for columns in {max(1, n) for n in (*(round(rows * aspect) + d for d in (-1, 0, 1)), within_budget)}:
            width, height = columns * multiple, rows * multiple
            area_error = abs(width * height / pixels - 1)
            if best is not None and width * height > (1 + AREA_TOLERANCE) * pixels:
                continue
            aspect_error = abs(width / height / aspect - 1)
            cost = (round(aspect_error, 4) + (0.0 if area_error <= AREA_TOLERANCE else 10 * area_error), area_error)
            if best is None or cost < best[:2]:
                best = (*cost, (width, height))
    assert best is not None  # steps is never empty
    return best[2]
