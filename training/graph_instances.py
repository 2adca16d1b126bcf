"""Grouping of objects by their centres, inside the graph: the operators of ``perception.stages.centres``.

That module is the reference and says what is computed; every output equals its output, byte for byte, for all
that is added or compared here are whole numbers that f32 holds exactly.

The minimum over centres runs along the last axis, where ONNX Runtime is three times as fast as along the first,
over distances that carry the centre's number in their last bits: ArgMin would be slower again (docs/experiments.md).
"""

from __future__ import annotations

import numpy as np
from onnx import TensorProto

from perception.stages.centres import (
    BLOCK,
    CODED_CELLS,
    LEVELS,
    LONGEST,
    NEAR,
    CentreSettings,
    scores_of_levels,
)
from training.graph_votes import Cells, Grouping, Owners, Seeds
from training.onnx_graph import OnnxGraph


def add_centre_grouping(
    graph: OnnxGraph,
    maps: tuple[str, str],
    centres: str,
    offsets: str,
    *,
    factor: int,
    thing_ids: tuple[int, ...],
    settings: CentreSettings,
) -> tuple[str, str]:
    """Append the grouping and its outputs ``ids`` (i32) and ``id_scores`` (f32).

    Args:
        maps: labels and confidence, f32 (N, 1, h, w) of whole numbers.
        centres, offsets: f32 (N, 1, H, W) and (N, 2, H, W) as the network gives them; H and W even.
        factor: label pixels a cell, in one direction: 1, 2 or 4.
        thing_ids: consecutive class ids, the last of the table.

    Returns:
        Labels after the vote, and confidence, f32 (N, 1, h, w).
    """
    build = CentreGrouping(graph, settings, thing_ids)
    cells = build.cells(centres)
    found = build.centres(centres, cells)
    return build.completed(maps, build.claims(offsets, found, cells), found, cells, factor)


class CentreGrouping(Grouping):
    """Finds centres, and for every cell the one that it points to."""

    def centres(self, heat: str, cells: Cells) -> Seeds:
        """Local maxima by max-pooling, and the brightest of them."""
        settings, add = self.settings, self.add
        half = LEVELS // 2
        levels = add("Round", [add("Mul", [heat, self.f(256)])])
        levels = add("Add", [self.clip(levels, -half, self.f(half - 1)), self.f(half)])
        side = 2 * settings.apart + 1
        of_row = add("Unsqueeze", [add("Mod", [cells.rows, self.i(side)]), self.i([1])])
        code = add("Add", [add("Mul", [of_row, self.i(side)]), add("Mod", [cells.columns, self.i(side)])])
        keys = add("Add", [add("Mul", [levels, self.f(64)]), self.cast(code, TensorProto.FLOAT)])
        around = add("MaxPool", [keys], kernel_shape=[side, side], pads=[settings.apart] * 4, strides=[1, 1])
        alone = add("Sub", [keys, around])  # 0, or less
        bright = add("Sub", [levels, self.f(settings.lowest)])
        is_centre = add("GreaterOrEqual", [add("Min", [alone, bright]), self.f(0)])
        index = add("Mul", [add("Unsqueeze", [cells.rows, self.i([1])]), cells.width])
        index = add("Add", [index, cells.columns])
        order = add("Mul", [self.cast(levels, TensorProto.INT32), self.graph.constant(CODED_CELLS, np.int32)])
        order = add("Add", [order, self._later(index)])
        none = self.graph.constant(-1, np.int32)
        order = add("Flatten", [add("Where", [is_centre, order, none])], axis=1)
        # So many cells there are in the smallest frame, too.
        order = add("Pad", [order, self.i([0, 0, 0, settings.most]), none])
        return self._brightest(order, cells)

    def _later(self, index: str) -> str:
        """i32: the more, the earlier a cell comes. Decides between two centres that are equally bright."""
        later = self.add("Max", [self.add("Sub", [self.i(CODED_CELLS - 1), index]), self.i(0)])
        return self.cast(later, TensorProto.INT32)

    def _brightest(self, order: str, cells: Cells) -> Seeds:
        graph, add = self.graph, self.add
        best, place = graph.add_pair("TopK", [order, self.i([self.settings.most])], axis=1)
        zero = graph.constant(0, np.int32)
        found = add("GreaterOrEqual", [best, zero])
        last = add("Sub", [add("Mul", [cells.height, cells.width]), self.i(1)])
        place = add("Min", [place, last])
        # OpenVINO divides whole numbers in f32: without a remainder that is exact.
        level = add("Div", [add("Sub", [best, self._later(place)]), graph.constant(CODED_CELLS, np.int32)])
        level = add("Max", [level, zero])
        score = add("Gather", [self.f(scores_of_levels()), level])
        score = add("Mul", [score, self.cast(found, TensorProto.FLOAT)])
        ys = add("Div", [place, cells.width])
        xs = add("Sub", [place, add("Mul", [ys, cells.width])])
        return Seeds(ys, xs, found, score)

    def claims(self, offsets: str, found: Seeds, cells: Cells) -> Owners:
        """Every cell is of the centre nearest to where it points."""
        settings, add = self.settings, self.add
        moves = self.clip(add("Round", [offsets]), -LONGEST, self.f(LONGEST))
        down, right = self.graph.split(moves, 2, axis=1)
        rows = self.cast(add("Unsqueeze", [cells.rows, self.i([1])]), TensorProto.FLOAT)
        columns = self.cast(cells.columns, TensorProto.FLOAT)
        blocks = [add("Div", [end, self.i(BLOCK)]) for end in (cells.height, cells.width)]
        y = self._block(add("Add", [down, rows]), cells.height)
        x = self._block(add("Add", [right, columns]), cells.width)
        row_length = self.cast(blocks[1], TensorProto.FLOAT)
        at = self.cast(add("Add", [add("Mul", [y, row_length]), x]), TensorProto.INT64)
        at = add("Add", [at, self.of_frame(cells, add("Mul", [blocks[0], blocks[1]]))])
        packed = add("Gather", [self._nearest_of_blocks(found, blocks), at])
        distance = self.whole(packed, settings.most)
        number = add("Sub", [packed, add("Mul", [distance, self.f(settings.most)])])
        length = add("Add", [add("Mul", [down, down]), add("Mul", [right, right])])
        claimed = self._within(distance, length, settings.reach)
        sure = claimed if settings.reach <= NEAR else self._within(distance, length, NEAR)
        return Owners(number, claimed, sure)

    def _within(self, distance: str, length: str, cells: int) -> str:
        """1 where there is a centre, missed by at most so many cells or half the offset; all are whole numbers."""
        reach = self.add("Max", [length, self.f(4 * cells**2)])
        left = self.add("Sub", [reach, self.add("Mul", [distance, self.f(4)])])
        exists = self.add("Sub", [self.f(2 * self.settings.farthest), distance])
        return self.clip(self.add("Min", [self.add("Add", [left, self.f(1)]), exists]), 0, self.f(1))

    def _block(self, at: str, end: str) -> str:
        last = self.cast(self.add("Sub", [end, self.i(1)]), TensorProto.FLOAT)
        return self.whole(self.clip(at, 0, last), BLOCK)

    def _nearest_of_blocks(self, found: Seeds, blocks: list[str]) -> str:
        """f32, flat: for every block of every frame squared distance * K + number of the nearest centre."""
        settings, add = self.settings, self.add
        numbers = self.f(np.arange(settings.most))
        parts = []
        for along, at, axis in ((blocks[0], found.ys, 2), (blocks[1], found.xs, 1)):
            steps = self.cast(add("Range", [self.i(0), along, self.i(1)]), TensorProto.FLOAT)
            steps = add("Unsqueeze", [add("Mul", [steps, self.f(BLOCK)]), self.i([1])])  # (blocks, 1)
            place = add("Unsqueeze", [self.cast(at, TensorProto.FLOAT), self.i([1])])  # (N, 1, K)
            away = add("Sub", [steps, place])
            squared = add("Min", [add("Add", [add("Mul", [away, away]), away]), self.f(settings.farthest)])
            squared = add("Where", [add("Unsqueeze", [found.found, self.i([1])]), squared, self.f(settings.farthest)])
            scaled = add("Mul", [squared, self.f(settings.most)])
            scaled = scaled if axis == 2 else add("Add", [scaled, numbers])
            parts.append(add("Unsqueeze", [scaled, self.i([axis])]))  # (N, rows, 1, K), (N, 1, columns, K)
        nearest = add("ReduceMin", [add("Add", parts)], axes=[3], keepdims=0)
        return add("Reshape", [nearest, self.i([-1])])
