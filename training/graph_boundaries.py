"""Grouping of objects by their boundaries, inside the graph: ``perception.stages.boundaries.by_flooding``.

Only max-pooling, comparisons and look-ups, so that every engine runs it; the classes of objects are voted for as
with centres. Every output equals that of the reference, byte for byte.
"""

from __future__ import annotations

import numpy as np
from onnx import TensorProto

from perception.stages.boundaries import FULL, GRADES, GROWTH, PLACES, RISE, SEED, STEPS, WATERLINES
from perception.stages.centres import LEVELS, CentreSettings, scores_of_levels
from training.graph_votes import Cells, Grouping, Owners, Seeds
from training.onnx_graph import OnnxGraph


def add_boundary_grouping(
    graph: OnnxGraph,
    maps: tuple[str, str],
    boundary: str,
    *,
    factor: int,
    thing_ids: tuple[int, ...],
    settings: CentreSettings,
) -> tuple[str, str]:
    """Append the grouping and its outputs. As ``add_centre_grouping``; of the settings only ``most`` counts.

    Args:
        boundary: f32 (N, 2, H, W) logits of body and border.
    """
    body, border = graph.split(boundary, 2, axis=1)
    build = BoundaryGrouping(graph, settings, thing_ids)
    cells = build.cells(body)
    number, claimed, found = build.numbers(body, border, cells)
    return build.completed(maps, Owners(number, claimed, sure=claimed), found, cells, factor)


class BoundaryGrouping(Grouping):
    """Numbers by flooding in the place of numbers by centres."""

    def numbers(self, body: str, border: str, cells: Cells) -> tuple[str, str, Seeds]:
        """The object of every cell from 0, and 1 where it has one, f32 (N, 1, H, W); and where each has its seed.

        Args:
            body, border: f32 (N, 1, H, W) logits.
        """
        add = self.add
        inside, edge = self._probability(body), self._probability(border)
        inner = add("Mul", [inside, add("Sub", [self.f(1), edge])])
        seeds = self._above(inner, SEED)
        outside = self._widest(add("Sub", [self.f(1), seeds]), 3)
        core = add("Sub", [self.f(1), outside])
        index = add("Add", [add("Mul", [add("Unsqueeze", [cells.rows, self.i([1])]), cells.width]), cells.columns])
        place = self.cast(add("Min", [add("Add", [index, self.i(1)]), self.i(PLACES - 1)]), TensorProto.FLOAT)
        grade = add("Floor", [add("Mul", [inner, self.f(GRADES - 1)])])
        own = add("Add", [add("Mul", [grade, self.f(PLACES)]), place])
        started = add("Mul", [own, core])
        keys = started
        for _ in range(STEPS):
            keys = add("Mul", [self._widest(keys, 3), seeds])
        is_root = self.cast(add("Equal", [keys, started]), TensorProto.FLOAT)
        roots = add("Flatten", [add("Mul", [is_root, started])], axis=1)
        for line in WATERLINES:
            ground = self._above(inside, line)
            for _ in range(RISE):
                keys = self._flooded(keys, ground, 3)
        full = self._above(add("Min", [add("Add", [inside, edge]), self.f(1)]), FULL)
        keys = self._flooded(keys, full, GROWTH)
        number, found = self._ranked(roots, keys, inner, cells)
        claimed = self.clip(number, 0, self.f(1))
        return self.clip(add("Sub", [number, self.f(1)]), 0, self.f(self.settings.most)), claimed, found

    def _ranked(self, roots: str, keys: str, inner: str, cells: Cells) -> tuple[str, Seeds]:
        """The rank of every cell's root from 1, 0 for none; and the roots, brightest first."""
        add, most = self.add, self.settings.most
        roots = add("Pad", [roots, self.i([0, 0, 0, most]), self.f(0)])
        best, place = self.graph.add_pair("TopK", [roots, self.i([most])], axis=1)
        found = add("Greater", [best, self.f(0)])
        ranks = add("Mul", [self.f(np.arange(1, most + 1)), self.cast(found, TensorProto.FLOAT)])
        table = add("ScatterElements", [add("Mul", [roots, self.f(0)]), place, ranks], axis=1)
        at = add("Sub", [keys, add("Mul", [self.whole(keys, PLACES), self.f(PLACES)])])
        at = self.cast(add("Max", [add("Sub", [at, self.f(1)]), self.f(0)]), TensorProto.INT64)
        size = add("Mul", [cells.height, cells.width])
        at = add("Add", [at, self.of_frame(cells, add("Add", [size, self.i(most)]))])
        number = add("Gather", [add("Reshape", [table, self.i([-1])]), at])
        number = add("Mul", [number, self.clip(keys, 0, self.f(1))])
        place = add("Min", [place, add("Sub", [size, self.i(1)])])
        frames = add("Reshape", [self.of_frame(cells, size), self.i([-1, 1])])
        scores = add("Gather", [add("Reshape", [inner, self.i([-1])]), add("Add", [place, frames])])
        scores = add("Mul", [scores, self.cast(found, TensorProto.FLOAT)])
        ys = add("Div", [place, cells.width])
        return number, Seeds(ys, add("Sub", [place, add("Mul", [ys, cells.width])]), found, scores)

    def _probability(self, logits: str) -> str:
        half = LEVELS // 2
        levels = self.add("Round", [self.add("Mul", [logits, self.f(256)])])
        levels = self.add("Add", [self.clip(levels, -half, self.f(half - 1)), self.f(half)])
        return self.add("Gather", [self.f(scores_of_levels()), self.cast(levels, TensorProto.INT32)])

    def _above(self, x: str, threshold: float) -> str:
        return self.cast(self.add("Greater", [x, self.f(threshold)]), TensorProto.FLOAT)

    def _widest(self, keys: str, window: int) -> str:
        return self.add("MaxPool", [keys], kernel_shape=[window] * 2, pads=[window // 2] * 4, strides=[1, 1])

    def _flooded(self, keys: str, ground: str, window: int) -> str:
        """Every cell of ``ground`` that has no key gets the largest around it."""
        free = self.add("Mul", [ground, self.add("Sub", [self.f(1), self.clip(keys, 0, self.f(1))])])
        return self.add("Add", [keys, self.add("Mul", [free, self._widest(keys, window)])])
