"""Painter's order: what hides what, for boxes that stand side by side on the ground."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from perception.synth.solids import Box

Span = tuple[float, float]
Mask = npt.NDArray[np.bool_]
SLACK = 0.05  # metres by which two boxes may overlap and still count as side by side


def painters_order(boxes: Sequence[Box], spans: Sequence[Span], eye: tuple[float, float]) -> list[int]:
    """Indices of the boxes, farthest first, so that painting in turn hides what is behind.

    ``boxes`` are footprints (d0, d1, z0, z1) in street coordinates, ``spans`` the columns (left, right)
    each can touch on the screen, ``eye`` the camera's (d, z). Of two boxes that share columns, the one
    that a line across or along the street separates towards the camera is painted later.
    """
    if not boxes:
        return []
    table = np.array(boxes)
    # By far end first. This settles every pair of which one lies wholly before the other along the street.
    start = np.lexsort((np.arange(len(boxes)), -table[:, 3]))
    d0, d1, z0, z1 = table[start].T
    left, right = np.array(spans)[start].T
    shared = (left[:, None] < right[None]) & (left[None] < right[:, None])
    np.fill_diagonal(shared, False)
    nearer = z1[:, None] <= z0[None] + SLACK  # [i, j]: i lies before j
    # [i, j]: i lies between j and the eye. What is wholly on the other side of the eye hides nothing.
    right_of = (d1[None] <= d0[:, None] + SLACK) & (d1[None] <= eye[0]) & (d0[:, None] < eye[0])
    left_of = (d1[:, None] <= d0[None] + SLACK) & (d0[None] >= eye[0]) & (d1[:, None] > eye[0])
    beside = shared & ~nearer & ~nearer.T & (right_of | left_of)
    found: list[int] = start[_topological(beside, beside | (shared & nearer))].tolist()
    return found


def _topological(beside: Mask, hides: Mask) -> list[int]:
    """The numbers 0, 1, ... as near to this order as painting what is hidden first allows.

    ``hides`` [i, j] says that i hides j, ``beside`` the part of it that the order does not settle by
    itself. All of ``hides`` counts only for what is painted before its turn.
    """
    waiting: list[list[int]] = [[] for _ in beside]
    for i, j in zip(*(axis.tolist() for axis in np.nonzero(beside))):
        waiting[i].append(j)
    seen = [False] * len(waiting)
    order: list[int] = []
    for first in range(len(waiting)):
        if seen[first]:
            continue
        seen[first] = True
        stack = [(first, iter(waiting[first]))]
        while stack:
            item, rest = stack[-1]
            found = next((j for j in rest if not seen[j]), -1)  # one that is already begun closes a cycle: cut there
            if found < 0:
                order.append(item)
                stack.pop()
            else:
                seen[found] = True
                stack.append((found, iter(np.flatnonzero(hides[found]).tolist())))
    return order
