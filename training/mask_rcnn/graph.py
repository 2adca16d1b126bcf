"""The detector in ONNX, with the standard operators NonMaxSuppression and RoiAlign: what ``MaskRCNN.detect`` does.

Tensors are as there, but for the layout of maps, NCHW. Suppression gives as many boxes as it finds; what it found is
written into a map of zeros and the best of that are taken, so that all outputs have a fixed length, frame by frame.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from onnx import TensorProto

from training.keras_to_onnx import add_keras_model
from training.mask_rcnn.boxes import LARGEST_GROWTH, anchors_at
from training.mask_rcnn.network import MaskRCNN
from training.mask_rcnn.settings import (
    BOX_BINS,
    BOX_WEIGHTS,
    CANONICAL,
    MASK_BINS,
    MASK_SIDE,
    SAMPLES,
    SIZES,
    STRIDES,
    THING_IDS,
    THINGS,
)
from training.onnx_graph import OnnxGraph

_NOTHING = -1e9  # the logit of a proposal that is none


class DetectorGraph:
    """Appends the detector to ``graph``, behind the maps of its trunk."""

    def __init__(self, graph: OnnxGraph, model: MaskRCNN) -> None:
        self.graph, self.add = graph, graph.add
        self._model, self._settings = model, model.detector

    def outputs(self, levels: list[str], frame: str) -> None:
        """Add the outputs boxes, scores, class_ids and masks. ``levels`` are the pyramid's, ``frame`` (N, 3, H, W)."""
        settings, count = self._settings, self._settings.proposals
        shape = self.add("Shape", [frame])
        ends = self.add("Concat", [self._part(shape, axis) for axis in (3, 2, 3, 2)], axis=0)
        limits = self.add("Cast", [ends], to=TensorProto.FLOAT)
        proposals, there = self._proposals(levels, limits)
        logits, codes = self._read(self._model.box_head, levels, proposals, BOX_BINS)
        logits = self.add("Reshape", [logits, self._i([-1, count, 1 + THINGS])])
        codes = self.add("Reshape", [codes, self._i([-1, count, 4])])
        boxes = self._inside(self._decode(codes, proposals, BOX_WEIGHTS), limits)
        probability = self.add(
            "Slice", [self.add("Softmax", [logits], axis=2), *map(self._i, ([1], [1 + THINGS], [2]))]
        )
        probability = self.add("Mul", [probability, self.add("Unsqueeze", [there, self._i([2])])])
        by_class = self.add("Transpose", [probability], perm=[0, 2, 1])
        kept = self._suppressed(boxes, by_class, settings.overlap, settings.threshold)
        flat = self.add("Reshape", [self.add("Mul", [by_class, kept]), self._i([0, -1])])
        scores, place = self.graph.add_pair("TopK", [flat, self._i([settings.most])], axis=1)
        class_index = self.add("Div", [place, self._i(count)])
        number = self.add("Sub", [place, self.add("Mul", [class_index, self._i(count)])])
        found = self._chosen(boxes, number)
        self.add("Identity", [scores], "scores")
        self.add("Identity", [found], "boxes")
        trained = self.add("Add", [class_index, self._i(THING_IDS[0])])
        self.add("Cast", [trained], "class_ids", to=TensorProto.INT32)
        self._masks(levels, found, class_index)

    def _proposals(self, levels: list[str], limits: str) -> tuple[str, str]:
        """(N, P, 4) boxes that may be objects, and (N, P) f32 1 where there is one."""
        settings = self._settings
        logits, codes, anchors = zip(*(self._level(k, level) for k, level in enumerate(levels)))
        everything = [self.add("Concat", list(parts), axis=1) for parts in (logits, codes)]
        best, index = self.graph.add_pair("TopK", [everything[0], self._i([settings.looked_at])], axis=1)
        chosen = self._chosen(everything[1], index)
        around = self.add("Gather", [self.add("Concat", list(anchors), axis=0), index], axis=0)
        boxes = self._inside(self._decode(chosen, around, (1, 1, 1, 1)), limits)
        one_class = self.add("Unsqueeze", [best, self._i([1])])
        kept = self._suppressed(boxes, one_class, settings.proposal_overlap, None)
        kept = self.add("Greater", [self.add("Squeeze", [kept, self._i([1])]), self._f(0.5)])
        score = self.add("Where", [kept, best, self._f(_NOTHING)])
        score, index = self.graph.add_pair("TopK", [score, self._i([settings.proposals])], axis=1)
        there = self.add("Cast", [self.add("Greater", [score, self._f(_NOTHING / 10)])], to=TensorProto.FLOAT)
        real = self.add("Mul", [self._chosen(boxes, index), self.add("Unsqueeze", [there, self._i([2])])])
        return real, there

    def _level(self, number: int, level: str) -> tuple[str, str, str]:
        """Of one level: logits (N, A), codes (N, A, 4) and the anchors (A, 4) themselves."""
        rpn = self._model.rpn
        x = self.add("Relu", [self._shared(rpn.get_layer("rpn_conv"), level, pad=1)])
        logits, codes = (self._shared(rpn.get_layer(name), x, pad=0) for name in ("rpn_objectness", "rpn_codes"))
        flat = [
            self.add("Reshape", [self.add("Transpose", [one], perm=[0, 2, 3, 1]), self._i(shape)])
            for one, shape in ((logits, [0, -1]), (codes, [0, -1, 4]))
        ]
        shape, stride = self.add("Shape", [level]), float(STRIDES[number])
        middles = []
        for axis, ahead in ((2, (-1, 1, 1, 1)), (3, (1, -1, 1, 1))):
            end = self.add("Squeeze", [self._part(shape, axis), self._i([0])])
            steps = self.add("Cast", [self.add("Range", [self._i(0), end, self._i(1)])], to=TensorProto.FLOAT)
            at = self.add("Mul", [self.add("Add", [steps, self._f(0.5)]), self._f(stride)])
            at = self.add("Reshape", [at, self._i(ahead)])
            middles.append(self.add("Mul", [at, self._f([0, 1, 0, 1] if axis == 2 else [1, 0, 1, 0])]))
        anchors = self.add("Add", [self.add("Add", middles), self._f(anchors_at(SIZES[number]))])
        return flat[0], flat[1], self.add("Reshape", [anchors, self._i([-1, 4])])

    def _shared(self, layer: keras.layers.Conv2D, x: str, *, pad: int) -> str:
        """A convolution that several levels share: its weights are in the graph once."""
        names = [f"{layer.name}.{part}" for part in ("w", "b")]
        if names[0] not in {weight.name for weight in self.graph.weights}:
            kernel, bias = layer.get_weights()
            for name, values in zip(names, (np.asarray(kernel).transpose(3, 2, 0, 1), bias)):
                self.graph.constant(values, np.float32, name)
        return self.add("Conv", [x, *names], pads=[pad] * 4)

    def _decode(self, codes: str, anchors: str, weights: tuple[float, ...]) -> str:
        """(N, M, 4) boxes, as ``boxes.decode``."""
        codes = self.add("Div", [codes, self._f(weights)])
        low, high = self.graph.split(anchors, 2, axis=2)
        size = self.add("Sub", [high, low])
        middle = self.add("Mul", [self.add("Add", [low, high]), self._f(0.5)])
        shift, growth = self.graph.split(codes, 2, axis=2)
        middle = self.add("Add", [middle, self.add("Mul", [shift, size])])
        growth = self.add("Exp", [self.add("Min", [growth, self._f(LARGEST_GROWTH)])])
        half = self.add("Mul", [self.add("Mul", [growth, size]), self._f(0.5)])
        return self.add("Concat", [self.add("Sub", [middle, half]), self.add("Add", [middle, half])], axis=2)

    def _inside(self, boxes: str, limits: str) -> str:
        return self.add("Max", [self.add("Min", [boxes, limits]), self._f(0)])

    def _suppressed(self, boxes: str, scores: str, overlap: float, threshold: float | None) -> str:
        """f32 (N, C, M): 1 for the boxes (N, M, 4) that stay of each class, by scores (N, C, M)."""
        limits = [self._i([np.iinfo(np.int32).max]), self._f([overlap])]
        limits += [] if threshold is None else [self._f([threshold])]
        places = self.add("NonMaxSuppression", [boxes, scores, *limits])
        one = self.add("Slice", [self.add("Shape", [places]), *map(self._i, ([0], [1], [0]))])
        ones = self.add("Expand", [self._f(1), one])
        nothing = self.add("Mul", [scores, self._f(0)])
        return self.add("ScatterND", [nothing, places, ones])

    def _chosen(self, values: str, index: str) -> str:
        """(N, K, 4) the rows of (N, M, 4) at (N, K)."""
        wide = self.add("Expand", [self.add("Unsqueeze", [index, self._i([2])]), self._i([1, 1, 4])])
        return self.add("GatherElements", [values, wide], axis=1)

    def _read(self, head: Any, levels: list[str], boxes: str, bins: int) -> list[str]:
        """The answers of a head to boxes (N, R, 4), each read off the level that its size asks for."""
        rows = self.add("Reshape", [boxes, self._i([-1, 4])])
        shape = self.add("Shape", [boxes])
        frames, each = (self._part(shape, axis) for axis in (0, 1))
        numbers = self.add("Range", [self._i(0), self.add("Squeeze", [frames, self._i([0])]), self._i(1)])
        wide = self.add(
            "Expand", [self.add("Unsqueeze", [numbers, self._i([1])]), self.add("Concat", [frames, each], axis=0)]
        )
        owners = self.add("Reshape", [wide, self._i([-1])])
        low, high = self.graph.split(rows, 2, axis=1)
        wide_high = self.graph.split(self.add("Sub", [high, low]), 2, axis=1)
        area = self.add("Reshape", [self.add("Mul", wide_high), self._i([-1, 1, 1, 1])])
        window: dict[str, Any] = {
            "output_height": bins,
            "output_width": bins,
            "sampling_ratio": SAMPLES,
            "mode": "avg",
            "coordinate_transformation_mode": "half_pixel",
        }
        read = ""
        for level, stride, side in zip(levels, STRIDES, (0, *CANONICAL)):
            features = self.add("RoiAlign", [level, rows, owners], spatial_scale=1 / stride, **window)
            if side:
                smaller = self.add("Less", [area, self._f(float(side**2))])
                read = self.add("Where", [smaller, read, features])
            else:
                read = features
        return add_keras_model(self.graph, head, read)

    def _masks(self, levels: list[str], boxes: str, class_index: str) -> None:
        (logits,) = self._read(self._model.mask_head, levels, boxes, MASK_BINS)
        index = self.add("Reshape", [class_index, self._i([-1, 1, 1, 1])])
        index = self.add("Expand", [index, self._i([1, 1, MASK_SIDE, MASK_SIDE])])
        own = self.add("Sigmoid", [self.add("GatherElements", [logits, index], axis=1)])
        self.add("Reshape", [own, self._i([-1, self._settings.most, MASK_SIDE, MASK_SIDE])], "masks")

    def _part(self, shape: str, axis: int) -> str:
        """i64 (1,): one number of a shape."""
        return self.add("Slice", [shape, *map(self._i, ([axis], [axis + 1], [0]))])

    def _i(self, values: Any) -> str:
        return self.graph.constant(values, np.int64)

    def _f(self, values: Any) -> str:
        return self.graph.constant(values, np.float32)
