"""The end of an exported graph: logits to the u8 maps ``labels`` and ``confidence``.

Bilinear up-sampling by two is written as four shifted sums, one per sub-pixel phase, each classified at
the size of the logits; only the finished maps are interleaved. The result equals Resize (half_pixel)
followed by ArgMax label for label, and of the forms compared (docs/experiments.md) it is the only one
that is fast in ONNX Runtime and OpenVINO alike.
"""

from __future__ import annotations

import numpy as np
from onnx import TensorProto

from training.onnx_graph import OnnxGraph

_TO_THE_END = 2**31 - 1
_ROWS, _COLUMNS = 2, 3  # axes of NCHW


def add_label_head(graph: OnnxGraph, logits: str, *, upsample: bool) -> None:
    """Add outputs ``labels`` and ``confidence``, u8 (N, h, w), from ``logits`` (N, C, h, w).

    With ``upsample`` the maps are (N, 2h, 2w). Confidence is the softmax probability of the chosen
    class x 255, exact at every pixel of the map.
    """
    add_map_outputs(graph, label_maps(graph, logits, upsample=upsample))


def label_maps(graph: OnnxGraph, logits: str, *, upsample: bool) -> tuple[str, str]:
    """Labels and confidence as f32 (N, 1, h, w); labels are whole numbers, confidence is yet to be cut."""
    phases = _bilinear_phases(graph, logits) if upsample else [logits]
    labels = _interleave(graph, [_classify(graph, phase) for phase in phases])
    return labels, _interleave(graph, [_confidence(graph, phase) for phase in phases])


def add_map_outputs(graph: OnnxGraph, maps: tuple[str, str]) -> None:
    """Add outputs ``labels`` and ``confidence``, u8 (N, h, w), from ``maps`` as of ``label_maps``.

    The cast comes last because TensorRT gives u8 outputs only straight out of a cast from floating point.
    """
    for one, name in zip(maps, ("labels", "confidence")):
        flat = graph.add("Squeeze", [one, graph.constant([1], np.int64)])
        graph.add("Cast", [flat], name, to=TensorProto.UINT8)


def _interleave(graph: OnnxGraph, maps: list[str]) -> str:
    """Four (N, 1, h, w) maps as one of twice the size; a single one as it is."""
    if len(maps) == 1:
        return maps[0]
    return graph.add("DepthToSpace", [graph.add("Concat", maps, axis=1)], blocksize=2, mode="DCR")


def _classify(graph: OnnxGraph, logits: str) -> str:
    return graph.add("Cast", [graph.add("ArgMax", [logits], axis=1, keepdims=1)], to=TensorProto.FLOAT)


def _confidence(graph: OnnxGraph, logits: str) -> str:
    """255 max softmax = 255 / sum(exp(x - max)), written out: a Softmax over axis 1 transposes in ONNX Runtime."""
    largest = graph.add("ReduceMax", [logits], axes=[1], keepdims=1)
    exponentials = graph.add("Exp", [graph.add("Sub", [logits, largest])])
    total = graph.add("ReduceSum", [exponentials, graph.constant([1], np.int64)], keepdims=1)
    scaled = graph.add("Div", [graph.constant(255.0, np.float32), total])
    return graph.add("Add", [scaled, graph.constant(0.5, np.float32)])  # the cast to u8 cuts: so it rounds


def _bilinear_phases(graph: OnnxGraph, x: str) -> list[str]:
    """The four sub-pixel phases of x2 bilinear up-sampling: even/odd row, even/odd column.

    With half-pixel centres an even output lies a quarter of an input pixel before its input, so it is
    0.75 of that and 0.25 of the one before; an odd one mirrors this. Edges repeat.
    """
    even_column, odd_column = _phase_pair(graph, x, _COLUMNS)
    rows = [_phase_pair(graph, column, _ROWS) for column in (even_column, odd_column)]
    return [rows[0][0], rows[1][0], rows[0][1], rows[1][1]]


def _phase_pair(graph: OnnxGraph, x: str, axis: int) -> tuple[str, str]:
    pads = [0] * 8
    pads[axis] = pads[4 + axis] = 1
    near = graph.add("Mul", [x, graph.constant(0.75, np.float32)])
    far = graph.add("Mul", [x, graph.constant(0.25, np.float32)])
    far = graph.add("Pad", [far, graph.constant(pads, np.int64)], mode="edge")
    before = graph.add("Add", [near, _slice(graph, far, 0, -2, axis)])
    after = graph.add("Add", [near, _slice(graph, far, 2, _TO_THE_END, axis)])
    return before, after


def _slice(graph: OnnxGraph, x: str, start: int, end: int, axis: int) -> str:
    bounds = [graph.constant([value], np.int64) for value in (start, end, axis)]
    return graph.add("Slice", [x, *bounds])
