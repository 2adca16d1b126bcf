"""Painter's order: what hides what, for boxes that stand side by side on the ground."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from perception.synth.solids import Box

Span = tuple[float, float]
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
    apart = (z1[:, None] <= z0[None] + SLACK) | (z1[None] <= z0[:, None] + SLACK)
    right_of = (d1[None] <= d0[:, None] + SLACK) & (d1[None] <= eye[0])  # [i, j]: i between j and the eye
    left_of = (d1[:, None] <= d0[None] + SLACK) & (d0[None] >= eye[0])
    front, back = np.nonzero(shared & ~apart & (right_of | left_of))
    before: list[list[int]] = [[] for _ in boxes]
    for i, j in zip(front.tolist(), back.tolist()):
        if i != j:
            before[i].append(j)
    return start[_topological(before)].tolist()


def _topological(before: list[list[int]]) -> list[int]:
    """The numbers 0, 1, ... as near to this order as having each after those in its list allows."""
    seen = [False] * len(before)
    order: list[int] = []
    for first in range(len(before)):
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
