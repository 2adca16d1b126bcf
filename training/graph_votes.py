"""What grouping of objects shares, whatever finds them: cells, the vote on classes, and the finished maps.

The operators of ``perception.stages.votes``. The forms follow from what engines do (docs/objects.md, measured in
docs/experiments.md):

- A Resize or MatMul makes OpenVINO compute everything before it in bf16. So maps are brought to the size of the
  labels by broadcasting over SpaceToDepth, and what reaches the one MatMul is 0 and 1, its sums at most a row long.
- No engine of NVIDIA adds in a scatter: votes are counted by a MatMul of indicators.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from onnx import TensorProto

from perception.stages.centres import CentreSettings
from perception.stages.votes import STEP, WINDOW
from training.onnx_graph import OnnxGraph

_TO_THE_END = 2**31 - 1
_OF_VOTE = 4  # centres that share a row of the table of votes, to keep both indicators short


@dataclass(frozen=True, slots=True)
class Cells:
    """What is known about the map of cells, for any size: names of tensors."""

    frames: str  # i64 scalar N
    height: str  # i64 scalar
    width: str
    rows: str  # i64 (H,): 0, 1, 2 ...
    columns: str  # i64 (W,)


@dataclass(frozen=True, slots=True)
class Seeds:
    """The centres found, or the seeds: names of tensors."""

    ys: str  # i64 (N, K)
    xs: str
    found: str  # bool (N, K)
    scores: str  # f32 (N, K)


@dataclass(frozen=True, slots=True)
class Owners:
    """Which object each cell belongs to: names of tensors, f32 (N, 1, H, W)."""

    number: str  # of the object, from 0
    claimed: str  # 1 where it belongs to it
    sure: str  # 1 where it votes, too, and its pixels of other classes belong to the object as well


class Grouping:
    """Writes the steps that every method has; one method each."""

    def __init__(self, graph: OnnxGraph, settings: CentreSettings, thing_ids: tuple[int, ...]) -> None:
        self.graph = graph
        self.settings = settings
        self._first, self._things = thing_ids[0], len(thing_ids)
        self.add = graph.add

    def f(self, value: object) -> str:
        """A constant of f32."""
        return self.graph.constant(np.asarray(value), np.float32)

    def i(self, value: object) -> str:
        """A constant of i64."""
        return self.graph.constant(np.asarray(value), np.int64)

    def cast(self, x: str, to: int) -> str:
        return self.add("Cast", [x], to=to)

    def clip(self, x: str, low: float, high: str) -> str:
        """Between a number and a tensor, both f32."""
        return self.add("Min", [self.add("Max", [x, self.f(low)]), high])

    def whole(self, x: str, divisor: int) -> str:
        """f32 x / divisor without the remainder; exact where the divisor is a power of two."""
        return self.add("Floor", [self.add("Mul", [x, self.f(1 / divisor)])])

    def cells(self, centres: str) -> Cells:
        """The sizes of a map of cells, and its coordinates."""
        shape = self.add("Shape", [centres])
        frames, height, width = (self.add("Gather", [shape, self.i(axis)]) for axis in (0, 2, 3))
        rows, columns = (self.add("Range", [self.i(0), end, self.i(1)]) for end in (height, width))
        return Cells(frames, height, width, rows, columns)

    def to_cells(self, pixels: str, factor: int) -> str:
        """(N, 1, h, w) to (N, factor * factor, H, W)."""
        return self.add("SpaceToDepth", [pixels], blocksize=factor) if factor > 1 else pixels

    def to_pixels(self, cells: str, factor: int) -> str:
        """The way back."""
        return self.add("DepthToSpace", [cells], blocksize=factor, mode="DCR") if factor > 1 else cells

    def of_frame(self, cells: Cells, length: str) -> str:
        """i64 (N, 1, 1, 1): where each frame of the batch begins in a flat table of ``length`` for each."""
        frames = self.add("Range", [self.i(0), cells.frames, self.i(1)])
        return self.add("Reshape", [self.add("Mul", [frames, length]), self.i([-1, 1, 1, 1])])

    def elected(self, number: str, voting: str, labels: str, found: Seeds, cells: Cells) -> str:
        """f32, flat (N * K): the class of each object, 0 where nobody voted."""
        settings, add, things = self.settings, self.add, self._things
        none = settings.most * things
        corner = add("Slice", [labels, self.i([0]), self.i([1]), self.i([1])])
        thing = add("Sub", [corner, self.f(self._first)])
        # Negative for stuff: a ballot then is none.
        votes = add("Mul", [voting, self.clip(add("Add", [thing, self.f(1)]), 0, self.f(1))])
        ballot = add("Add", [add("Mul", [number, self.f(things)]), thing])
        ballot = add("Add", [add("Mul", [votes, add("Sub", [ballot, self.f(none)])]), self.f(none)])
        ballots = self.cast(ballot, TensorProto.INT32)  # from here on nothing may be rounded to bf16
        counts = add("Add", [self._sampled(ballots), self._near(ballots, found, cells)])
        best = add("ArgMax", [counts], axis=2, keepdims=0)
        winner = add("Add", [self.cast(best, TensorProto.FLOAT), self.f(self._first)])
        voted = add("Min", [add("ReduceMax", [counts], axes=[2], keepdims=0), self.f(1)])
        return add("Reshape", [add("Mul", [winner, voted]), self.i([-1])])

    def _sampled(self, ballots: str) -> str:
        """f32 (N, K, classes): the votes of every second cell in both directions."""
        add, row = self.add, _OF_VOTE * self._things
        bounds = [self.i([0, 0]), self.i([_TO_THE_END] * 2), self.i([2, 3]), self.i([STEP] * 2)]
        some = add("Squeeze", [add("Slice", [ballots, *bounds]), self.i([1])])
        high = add("Div", [some, self.graph.constant(row, np.int32)])
        low = add("Sub", [some, add("Mul", [high, self.graph.constant(row, np.int32)])])
        rows = self.settings.most // _OF_VOTE
        indicators = np.eye(rows + 1, rows)  # the last row, all 0, is that of no ballot
        one = add("Transpose", [add("Gather", [self.f(indicators), high])], perm=[0, 1, 3, 2])  # (N, H, rows, W)
        other = add("Gather", [self.f(np.eye(row)), low])  # (N, H, W, row)
        # Row by row of the map: a count of up to 256 is exact in bf16, too.
        counts = add("ReduceSum", [add("MatMul", [one, other]), self.i([1])], keepdims=0)
        return add("Reshape", [counts, self.i([0, self.settings.most, self._things])])

    def _near(self, ballots: str, found: Seeds, cells: Cells) -> str:
        """f32 (N, K, classes): the votes of all cells around each centre."""
        add, most, things = self.add, self.settings.most, self._things
        near = np.arange(-WINDOW, WINDOW + 1)
        side = len(near)
        places = []
        for at, end, shape in ((found.ys, cells.height, (side, 1)), (found.xs, cells.width, (1, side))):
            last = add("Sub", [end, self.i(1)])
            moved = add("Add", [add("Unsqueeze", [at, self.i([2, 3])]), self.i(near.reshape(shape))])
            places.append(add("Min", [add("Max", [moved, self.i(0)]), last]))
        index = add("Add", [add("Mul", [places[0], cells.width]), places[1]])  # (N, K, side, side)
        index = add("Add", [index, self.of_frame(cells, add("Mul", [cells.height, cells.width]))])
        around = add("Gather", [add("Reshape", [ballots, self.i([-1])]), index])
        own = self.graph.constant((np.arange(most) * things)[:, None, None], np.int32)
        around = add("Reshape", [add("Sub", [around, own]), self.i([0, 0, side * side, 1])])
        is_for = add("Equal", [around, self.graph.constant(np.arange(things), np.int32)])
        return add("ReduceSum", [self.cast(is_for, TensorProto.FLOAT), self.i([2])], keepdims=0)

    def completed(
        self, maps: tuple[str, str], owners: Owners, found: Seeds, cells: Cells, factor: int
    ) -> tuple[str, str]:
        """Vote, and add the outputs ``ids`` and ``id_scores``. Labels and confidence after it, f32 (N, 1, h, w)."""
        labels, confidence = (self.to_cells(name, factor) for name in maps)
        elected = self.elected(owners.number, owners.sure, labels, found, cells)
        ids, voted, sure = self.finished(owners, elected, labels, confidence, cells)
        flat = self.add("Squeeze", [self.to_pixels(ids, factor), self.i([1])])
        self.graph.add("Cast", [flat], "ids", to=TensorProto.INT32)
        self.graph.add("Identity", [found.scores], "id_scores")
        return self.to_pixels(voted, factor), self.to_pixels(sure, factor)

    def finished(
        self, owners: Owners, elected: str, labels: str, confidence: str, cells: Cells
    ) -> tuple[str, str, str]:
        """Ids, labels and confidence, f32 (N, factor * factor, H, W)."""
        add = self.add
        at = add("Add", [self.cast(owners.number, TensorProto.INT64), self.of_frame(cells, self.i(self.settings.most))])
        cell_class = add("Mul", [add("Gather", [elected, at]), owners.claimed])
        cell_id = add("Mul", [add("Add", [owners.number, self.f(1)]), add("Min", [cell_class, self.f(1)])])
        is_thing = self.clip(add("Sub", [labels, self.f(self._first - 1)]), 0, self.f(1))
        ids = add("Mul", [is_thing, cell_id])
        taken = add("Min", [ids, self.f(1)])
        change = add("Mul", [taken, add("Sub", [cell_class, labels])])
        changed = add("Min", [add("Abs", [change]), self.f(1)])
        if owners.sure != owners.claimed:
            stays = add("Sub", [self.f(1), add("Mul", [changed, add("Sub", [self.f(1), owners.sure])])])
            ids, change, changed = (add("Mul", [one, stays]) for one in (ids, change, changed))
        same = add("Sub", [self.f(1), changed])
        return ids, add("Add", [labels, change]), add("Mul", [confidence, same])
