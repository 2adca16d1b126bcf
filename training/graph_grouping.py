"""Which heads of a model tell objects apart, and the grouping that belongs to them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from onnx import TensorProto, ValueInfoProto, helper

from perception.errors import ModelError
from perception.stages.centres import CentreSettings
from training.card import ModelCard
from training.graph_boundaries import add_boundary_grouping
from training.graph_instances import add_centre_grouping
from training.onnx_graph import OnnxGraph

if TYPE_CHECKING:
    import keras

Method = Literal["centre", "boundary"]
HEADS: dict[str, tuple[str, ...]] = {"centre": ("centres", "offsets"), "boundary": ("boundary",)}


def output_names(model: keras.Model) -> list[str]:
    """The names of the layers that give a model's outputs, in their order."""
    return [str(output._keras_history.operation.name) for output in model.outputs]


def method_of(model: keras.Model) -> Method | None:
    """How a model tells objects apart, None where it does not; centres first."""
    names = set(output_names(model))
    if names.issuperset(HEADS["centre"]):
        return "centre"
    return "boundary" if names.issuperset(HEADS["boundary"]) else None


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
    method = str(card.instances)
    wanted = HEADS.get(method, ())
    if not wanted or any(name not in heads for name in wanted):
        raise ModelError(
            f"Objects by {method!r} need the outputs {' and '.join(wanted) or 'of a known method'}; the model has, "
            f"besides logits: {', '.join(heads) or 'none'}. Train it with such a head, or export it without objects."
        )
    if label_stride > settings.stride:
        raise ModelError(
            f"A label stride of {label_stride} is coarser than the cells that objects are grouped in: give 1, 2 or 4."
        )
    things = card.classes.thing_ids()
    if not things or things != tuple(range(things[0], card.classes.rows[-1].id + 1)):
        raise ModelError(f"Objects can be grouped where the last classes of the table are the things, got {things}.")
    factor = settings.stride // label_stride
    given = [heads[name] for name in wanted]
    if method == "centre":
        return add_centre_grouping(graph, maps, *given, factor=factor, thing_ids=things, settings=settings)
    return add_boundary_grouping(graph, maps, *given, factor=factor, thing_ids=things, settings=settings)


def grouped_outputs() -> list[ValueInfoProto]:
    """The outputs that every grouping adds."""
    return [
        helper.make_tensor_value_info("ids", TensorProto.INT32, ["N", "h", "w"]),
        helper.make_tensor_value_info("id_scores", TensorProto.FLOAT, ["N", "K"]),
    ]
