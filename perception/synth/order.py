"""Painter's order: what hides what, for boxes that stand side by side on the ground."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from perception.synth.solids import Box

Span = tuple[float, float]


def painters_order(boxes: Sequence[Box], spans: Sequence[Span], eye: tuple[float, float]) -> list[int]:
    """Indices of the boxes, farthest first, so that painting in turn hides what is behind.

    ``boxes`` are footprints (d0, d1, z0, z1) in street coordinates, ``spans`` the columns (left, right)
    each can touch on the screen, ``eye`` the camera's (d, z). Of two boxes that share columns, the one
    that a line across or along the street separates towards the camera is painted later.
    """
    if not boxes:
        return []
    table = np.array(boxes)
    d0, d1, z0, z1 = table.T
    left, right = np.array(spans).T
    start = np.lexsort((np.arange(len(boxes)), -z1))
    shared = (left[:, None] < right[None]) & (left[None] < right[:, None])
    slack = 0.05
    nearer_z = z1[:, None] <= z0[None] + slack  # [i, j]: i lies wholly before j
    inside = (d0[:, None] >= d1[None] - slack) & (d1[None] <= eye[0]) | (d1[:, None] <= d0[None] + slack) & (
        d0[None] >= eye[0]
    )
    overlap_z = ~(nearer_z | nearer_z.T)
    in_front = shared & (nearer_z | (overlap_z & inside))
    np.fill_diagonal(in_front, False)
    front, back = np.nonzero(in_front)
    before: list[list[int]] = [[] for _ in boxes]
    for i, j in zip(front.tolist(), back.tolist()):
        before[i].append(j)
    return _topological(start.tolist(), before)


def _topological(start: list[int], before: list[list[int]]) -> list[int]:
    seen = [False] * len(start)
    order: list[int] = []
    for first in start:
        if seen[first]:
            continue
        seen[first] = True
        stack = [(first, iter(before[first]))]
        while stack:
            item, waiting = stack[-1]
            found = next((j for j in waiting if not seen[j]), -1)  # one that is already begun closes a cycle: cut there
            if found < 0:
                order.append(item)
                stack.pop()
            else:
                seen[found] = True
                stack.append((found, iter(before[found])))
    return order
