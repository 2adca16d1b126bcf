"""Export a detector as the one ONNX file that every engine runs."""

from __future__ import annotations

from pathlib import Path

import onnx
from onnx import TensorProto, helper

from perception.errors import ModelError
from perception.files import write_whole
from perception.types import Size
from training.card import ModelCard
from training.export import MAPS
from training.graph_head import add_label_head
from training.graph_shrink import shrink
from training.keras_to_onnx import add_keras_model
from training.mask_rcnn.graph import DetectorGraph
from training.mask_rcnn.network import MaskRCNN
from training.mask_rcnn.settings import LEAST_SIDE, MASK_SIDE
from training.onnx_graph import OnnxGraph
from training.onnx_model import assemble

METHOD = "mask-rcnn"  # of the card


def export_detector(model: MaskRCNN, path: Path, card: ModelCard, *, label_stride: int, size: Size | None) -> None:
    """Write labels and confidence of the trunk, and boxes, scores, class_ids and masks, as one ONNX file.

    Arguments as those of ``training.export.export_onnx``. Boxes are in pixels of the network's frame.

    Raises:
        ModelError: the precision is not fp32, or the frame is smaller than a detector takes.
        OutputError: the file cannot be written.
    """
    if card.precision != "fp32" or card.refine is not None:
        raise ModelError(
            "A Mask R-CNN is exported in fp32, and without refinement; leave out --precision and --refine."
        )
    if size is not None and min(size) < LEAST_SIDE:
        raise ModelError(f"A Mask R-CNN takes frames from {LEAST_SIDE} pixels a side on, got {size[0]}x{size[1]}.")
    write_whole(path, detector_proto(model, card, label_stride=label_stride, size=size).SerializeToString())


def detector_proto(
    model: MaskRCNN, card: ModelCard, *, label_stride: int, size: Size | None = None, halve_weights: bool = True
) -> onnx.ModelProto:
    """The checked ONNX model; with ``halve_weights`` weights are stored as f16."""
    graph = OnnxGraph()
    x = graph.add("Transpose", [graph.add("Cast", ["frame"], to=TensorProto.FLOAT)], perm=[0, 3, 1, 2])
    logits, *levels = add_keras_model(graph, model.trunk, x)
    if label_stride > 2:
        logits = shrink(graph, logits, label_stride // 2)
    add_label_head(graph, logits, upsample=label_stride == 1)
    DetectorGraph(graph, model).outputs(levels, x)
    proto = assemble(graph, card.id, _outputs(model.detector.most), card.metadata(), halve_weights=halve_weights)
    if size is not None:
        _fix_size(proto, size, label_stride)
    onnx.checker.check_model(proto, full_check=True)
    return proto


def _outputs(most: int) -> list[onnx.ValueInfoProto]:
    tensor = helper.make_tensor_value_info
    return [
        *(tensor(name, TensorProto.UINT8, ["N", "h", "w"]) for name in MAPS),
        tensor("boxes", TensorProto.FLOAT, ["N", most, 4]),
        tensor("scores", TensorProto.FLOAT, ["N", most]),
        tensor("class_ids", TensorProto.INT32, ["N", most]),
        tensor("masks", TensorProto.FLOAT, ["N", most, MASK_SIDE, MASK_SIDE]),
    ]


def _fix_size(proto: onnx.ModelProto, size: Size, label_stride: int) -> None:
    maps = [tensor for tensor in proto.graph.output if tensor.name in MAPS]
    for tensor, stride in ((proto.graph.input[0], 1), *((one, label_stride) for one in maps)):
        axes = tensor.type.tensor_type.shape.dim
        axes[1].dim_value, axes[2].dim_value = size[1] // stride, size[0] // stride
