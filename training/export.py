"""Export a trained Keras model as the one ONNX file that every engine runs.

The graph takes u8 BGR frames and gives u8 maps; normalisation is inside the model, argmax and
confidence are added here. The file's metadata is the model card.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import keras
import onnx
from onnx import TensorProto, helper

from perception.errors import ModelError
from perception.files import write_whole
from perception.stages.centres import CentreSettings
from perception.types import Size
from training.card import ModelCard
from training.graph_crf import add_probabilities, crf_settings, enlarge, probability_output, refine_logits
from training.graph_grouping import add_grouping, grouped_outputs, output_names
from training.graph_head import add_map_outputs, label_maps
from training.graph_shrink import shrink
from training.keras_to_onnx import add_keras_model
from training.models.analysis import logits_stride
from training.onnx_graph import OnnxGraph
from training.onnx_model import assemble

if TYPE_CHECKING:
    from training.precision import Frames

_STRIDES = (1, 2, 4, 8)
MAPS = ("labels", "confidence")


def export_onnx(
    model: keras.Model,
    path: Path,
    card: ModelCard,
    *,
    label_stride: int,
    size: Size | None = None,
    calibration: Iterable[Frames] = (),
    symmetric: bool = False,
    centres: CentreSettings | None = None,
) -> list[str]:
    """Write ``model`` (u8 frames to logits) as an ONNX file under the graph contract.

    ``label_stride`` is 1 for maps of the network's size, 2 for half of it, and so on. Coarser than the model's
    logits they are classified from the means of neighbouring logits; finer by two, from their bilinear
    interpolation. With ``size`` (w, h) the file takes frames of that size alone. The file appears whole or not
    at all.

    The precision is the card's. With fp32, weights are stored as f16 behind a Cast, which engines fold at load;
    fp16 and int8 (``training.precision``) need frames at network size for ``calibration``; ``symmetric`` int8 is
    TensorRT's. Returns the names of the nodes that fp16 had to leave in f32.

    Where the card's ``instances`` is "centre", the outputs ``centres`` and ``offsets`` of the model are grouped to
    ``ids`` as ``centres`` says (``training.graph_instances``).

    Where the card's ``refine`` is "crf", labels and confidence are those of a dense CRF over the frame
    (``training.graph_crf``); where it is "probabilities", there is that output too, for a node that refines.

    Raises:
        ModelError: a layer has no translation, a weight is not finite, or the stride does not suit the model.
        OutputError: the file cannot be written.
    """
    stride = logits_stride(model)
    if label_stride not in _STRIDES or stride > 2 * label_stride:
        possible = ", ".join(str(one) for one in _STRIDES if stride <= 2 * one)
        raise ModelError(f"Label stride must be one of {possible} for logits at stride {stride}, got {label_stride}.")
    graph = OnnxGraph()
    # TensorRT takes u8 inputs only straight into a cast.
    x = graph.add("Transpose", [graph.add("Cast", ["frame"], to=TensorProto.FLOAT)], perm=[0, 3, 1, 2])
    before = len(graph.nodes)
    logits, *others = add_keras_model(graph, model, x)
    if label_stride > stride:
        logits = shrink(graph, logits, label_stride // stride)
    network = [node.name for node in graph.nodes[before:]]
    finer = label_stride < stride
    if card.refine is not None and finer:
        logits, finer = enlarge(graph, logits), False
    if card.refine == "crf":
        settings = crf_settings(label_stride, card.refine_weight)
        logits = refine_logits(graph, logits, x, label_stride=label_stride, settings=settings)
    elif card.refine == "probabilities":
        add_probabilities(graph, logits)
    maps = label_maps(graph, logits, upsample=finer)
    if card.instances is not None:
        heads = dict(zip(output_names(model)[1:], others))
        maps = add_grouping(graph, maps, heads, card, label_stride=label_stride, settings=centres or CentreSettings())
    add_map_outputs(graph, maps)
    proto = _assemble(graph, card, halve_weights=card.precision == "fp32")
    kept: list[str] = []
    if card.precision != "fp32":
        # Its library is heavy, and fp32 does without it.
        from training.precision import to_half, to_int8

        if card.precision == "fp16":
            proto, kept = to_half(proto, network, calibration)
        else:
            proto = to_int8(proto, network, calibration, symmetric=symmetric)
    if size is not None:
        _fix_size(proto, size, label_stride)
    onnx.checker.check_model(proto, full_check=True)
    write_whole(path, proto.SerializeToString())
    return kept


def _fix_size(proto: onnx.ModelProto, size: Size, label_stride: int) -> None:
    """Write frames of ``size``, and the maps that belong to it, into the file."""
    width, height = size
    for tensors, (h, w) in (
        (proto.graph.input, (height, width)),
        (proto.graph.output, (height // label_stride, width // label_stride)),
    ):
        for tensor in tensors:
            axes = tensor.type.tensor_type.shape.dim
            if len(axes) > 2:  # those of scores are frames and objects
                first = 2 if tensor.name == "probabilities" else 1
                axes[first].dim_value, axes[first + 1].dim_value = h, w
    # What was inferred for frames of any size would contradict it.
    del proto.graph.value_info[:]


def replace_card(path: Path, card: ModelCard) -> None:
    """Give an exported file another card, such as one with the scores measured on it; the graph stays."""
    proto = onnx.load(path)
    del proto.metadata_props[:]
    helper.set_model_props(proto, card.metadata())
    write_whole(path, proto.SerializeToString())


def _assemble(graph: OnnxGraph, card: ModelCard, *, halve_weights: bool) -> onnx.ModelProto:
    outputs = [
        *(helper.make_tensor_value_info(name, TensorProto.UINT8, ["N", "h", "w"]) for name in MAPS),
        *(grouped_outputs() if card.instances is not None else []),
        *(probability_output() if card.refine == "probabilities" else []),
    ]
    return assemble(graph, card.id, outputs, card.metadata(), halve_weights=halve_weights)
