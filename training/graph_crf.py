"""Mean field as part of an exported graph: the arithmetic of ``perception.refinement.mean_field``, for whole frames.

Krähenbühl and Koltun 2011 with a truncated window, as Teichmann and Cipolla 2018 have it; see there. Tiles are cut by
SpaceToDepth and Reshape with zeros, so that frames of any size go through without one shape being computed. Squared
differences of colours are summed channel by channel: as |a|² + |b|² - 2ab, one matrix product, they would be
faster, and noise in bf16, to which OpenVINO rounds.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from onnx import TensorProto, ValueInfoProto, helper

from perception.refinement.mean_field import KEYS, LEAST
from perception.refinement.settings import TILE, WEIGHT, CrfSettings
from training.data.taxonomy import CLASSES
from training.onnx_graph import OnnxGraph

_MULTIPLE = 32  # of network pixels: every frame's sides
_TO_THE_END = 2**31 - 1
_WINDOW = [(down, across) for down in (-1, 0, 1) for across in (-1, 0, 1)]  # tiles, in the order of their keys
_PIXELS = 3  # axis of a tile's pixels or keys: (tiles down, tiles across, N, pixels, channels)


def crf_settings(label_stride: int, weight: float = WEIGHT) -> CrfSettings:
    """Settings for maps of that stride: the tile divides every map that a frame may have."""
    return CrfSettings(weight=weight, tile=min(TILE, _MULTIPLE // label_stride))


def refine_logits(graph: OnnxGraph, logits: str, frame: str, *, label_stride: int, settings: CrfSettings) -> str:
    """Refined logits (N, C, h, w), from logits of that shape and the frame (N, 3, H, W) in 0..255."""
    tile, apart = settings.tile, settings.tile // KEYS
    colours = _colours(graph, frame, label_stride, settings)
    largest = graph.add("ReduceMax", [logits], axes=[1], keepdims=1)
    unary = graph.add("Max", [graph.add("Sub", [logits, largest]), graph.constant(np.log(LEAST), np.float32)])
    key_unary, key_colours = (_every(graph, x, apart) for x in (unary, colours))
    heard = graph.add("Transpose", [_window(graph, key_colours)], perm=[0, 1, 2, 4, 3])
    among_keys = _kernel(graph, _tiled(graph, key_colours, KEYS), heard, _distances(settings, keys=True))
    state = key_unary
    for _ in range(settings.rounds - 1):
        messages = _messages(graph, among_keys, state, settings)
        state = graph.add("Add", [key_unary, _untiled(graph, messages, KEYS)])
    kernel = _kernel(graph, _tiled(graph, colours, tile), heard, _distances(settings, keys=False))
    messages = _messages(graph, kernel, state, settings)
    return graph.add("Add", [unary, _untiled(graph, messages, tile)])


def add_probabilities(graph: OnnxGraph, logits: str) -> None:
    """Add the output ``probabilities``, f16 (N, C, h, w), for a refinement outside the graph."""
    graph.add("Cast", [graph.add("Softmax", [logits], axis=1)], "probabilities", to=TensorProto.FLOAT16)


def probability_output() -> list[ValueInfoProto]:
    """What ``add_probabilities`` adds to the outputs of a graph."""
    return [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT16, ["N", CLASSES, "h", "w"])]


def enlarge(graph: OnnxGraph, logits: str) -> str:
    """Logits of twice the size, bilinear."""
    scales = graph.constant([1, 1, 2, 2], np.float32)
    return graph.add("Resize", [logits, "", scales], mode="linear", coordinate_transformation_mode="half_pixel")


def _colours(graph: OnnxGraph, frame: str, label_stride: int, settings: CrfSettings) -> str:
    """(N, 3, h, w): the frame at the size of the maps, in such units that squared differences are the exponent."""
    if label_stride > 1:
        frame = graph.add("AveragePool", [frame], kernel_shape=[label_stride] * 2, strides=[label_stride] * 2)
    centred = graph.add("Sub", [frame, graph.constant(128.0, np.float32)])
    return graph.add("Mul", [centred, graph.constant(1 / (np.sqrt(2) * settings.colour), np.float32)])


def _every(graph: OnnxGraph, x: str, apart: int) -> str:
    """Every ``apart``-th row and column, as ``mean_field`` has its keys."""
    bounds = [[apart // 2] * 2, [_TO_THE_END] * 2, [2, 3], [apart] * 2]
    return graph.add("Slice", [x, *(graph.constant(bound, np.int64) for bound in bounds)])


def _tiled(graph: OnnxGraph, x: str, side: int) -> str:
    """(h / side, w / side, N, side², F) of (N, F, h, w)."""
    deep = graph.add("Transpose", [graph.add("SpaceToDepth", [x], blocksize=side)], perm=[2, 3, 0, 1])
    return graph.add("Reshape", [deep, graph.constant([0, 0, 0, side * side, -1], np.int64)])


def _untiled(graph: OnnxGraph, x: str, side: int) -> str:
    """(N, F, h, w) of (h / side, w / side, N, side², F)."""
    flat = graph.add("Reshape", [x, graph.constant([0, 0, 0, -1], np.int64)])
    deep = graph.add("Transpose", [flat], perm=[2, 3, 0, 1])
    return graph.add("DepthToSpace", [deep], blocksize=side, mode="DCR")


def _window(graph: OnnxGraph, keys: str) -> str:
    """(tiles down, tiles across, N, 36, F) of a grid of keys (N, F, keys down, keys across); 0 beyond the edge."""
    own = _tiled(graph, keys, KEYS)
    padded = graph.add("Pad", [own, graph.constant([1, 1, 0, 0, 0] * 2, np.int64)])
    parts = []
    for down, across in _WINDOW:
        starts, ends = [1 + down, 1 + across], [(down - 1) or _TO_THE_END, (across - 1) or _TO_THE_END]
        bounds = (graph.constant(bound, np.int64) for bound in (starts, ends, [0, 1]))
        parts.append(graph.add("Slice", [padded, *bounds]))
    return graph.add("Concat", parts, axis=_PIXELS)


def _kernel(graph: OnnxGraph, pixels: str, keys: str, distances: npt.NDArray[np.float32]) -> str:
    """(.., P, 36) of the colours of pixels (.., P, 3) and of keys (.., 3, 36), and their ``distances`` (P, 36)."""
    exponent = graph.constant(distances, np.float32)
    for one, other in zip(graph.split(pixels, 3, axis=4), graph.split(keys, 3, axis=3)):
        apart = graph.add("Sub", [one, other])
        exponent = graph.add("Sub", [exponent, graph.add("Mul", [apart, apart])])
    return graph.add("Exp", [exponent])


def _messages(graph: OnnxGraph, kernel: str, state: str, settings: CrfSettings) -> str:
    """(.., P, C): what pixels hear from the keys of their window, whose logits are ``state`` (N, C, keys, keys)."""
    beliefs = graph.add("Softmax", [state], axis=1)
    # A channel of ones, in the shape of the others: the sum of a distribution.
    present = graph.add("ReduceSum", [beliefs, graph.constant([1], np.int64)], keepdims=1)
    window = _window(graph, beliefs)
    weights = graph.add("MatMul", [kernel, _window(graph, present)])
    alone = graph.constant((KEYS / settings.tile) ** 2, np.float32)
    scale = graph.add("Div", [graph.constant(settings.weight, np.float32), graph.add("Add", [weights, alone])])
    return graph.add("Mul", [graph.add("MatMul", [kernel, window]), scale])


def _distances(settings: CrfSettings, *, keys: bool) -> npt.NDArray[np.float32]:
    """(P, 36), or (4, 36) between ``keys``: minus half the squared distance in units of the spread."""
    tile, apart = settings.tile, settings.tile // KEYS
    own = np.arange(apart // 2, tile, apart) if keys else np.arange(tile)
    pixels = np.stack(np.meshgrid(own, own, indexing="ij"), axis=-1).reshape(-1, 1, 2)
    within = np.arange(apart // 2, tile, apart)
    corners = np.array(_WINDOW).reshape(-1, 1, 1, 2) * tile
    others = (corners + np.stack(np.meshgrid(within, within, indexing="ij"), axis=-1)).reshape(1, -1, 2)
    return np.asarray(np.square(pixels - others).sum(axis=-1) / (-2 * settings.spread**2), np.float32)
