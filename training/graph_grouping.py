"""Which heads of a model tell objects apart, and the grouping that belongs to them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import keras
from onnx import TensorProto, ValueInfoProto, helper

from perception.errors import ModelError
from perception.stages.centres import CentreSettings
from training.card import ModelCard
from training.graph_instances import add_centre_grouping
from training.onnx_graph import OnnxGraph

Method = Literal["centre"]
HEADS: dict[Method, tuple[str, str]] = {"centre": ("centres", "offsets")}


def output_names(model: keras.Model) -> list[str]:
    """The names of the layers that give a model's outputs, in their order."""
    return [str(output._keras_history.operation.name) for output in model.outputs]


def method_of(model: keras.Model) -> Method | None:
    """How a model tells objects apart, None where it does not."""
    names = set(output_names(model))
    return next((method for method, heads in HEADS.items() if names.issuperset(heads)), None)


def add_grouping(
    graph: OnnxGraph,
    maps: tuple[str, str],
    heads: Mapping[str, str],
    card: ModelCard,
    *,
    label_stride: int,
    settings: CentreSettings,
) -> tuple[str, str]:
    """Append the grouping that the card names; returns labels and confidence after it. See ``add_centre_grouping``.

    Args:
        heads: tensors, NCHW, by the name of the layer that gives them.

    Raises:
        ModelError: the model has no such heads, or the label stride or the classes do not suit them.
    """
    missing = [name for name in HEADS["centre"] if name not in heads]
    if card.instances not in HEADS or missing:
        raise ModelError(
            f"Objects by {card.instances!r} need the outputs {' and '.join(HEADS['centre'])}; the model has, besides "
            f"logits: {', '.join(heads) or 'none'}. Train it with a head for centres, or export it without objects."
        )
    if label_stride > settings.stride:
        raise ModelError(
            f"A label stride of {label_stride} is coarser than the cells that objects are grouped in: give 1, 2 or 4."
        )
    things = card.classes.thing_ids()
    if not things or things != tuple(range(things[0], card.classes.rows[-1].id + 1)):
        raise ModelError(f"Objects can be grouped where the last classes of the table are the things, got {things}.")
    factor = settings.stride // label_stride
    centres, offsets = (heads[name] for name in HEADS["centre"])
    return add_centre_grouping(graph, maps, centres, offsets, factor=factor, thing_ids=things, settings=settings)


def grouped_outputs() -> list[ValueInfoProto]:
    """The outputs that every grouping adds."""
    return [
        helper.make_tensor_value_info("ids", TensorProto.INT32, ["N", "h", "w"]),
        helper.make_tensor_value_info("id_scores", TensorProto.FLOAT, ["N", "K"]),
    ]
