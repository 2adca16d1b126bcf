"""What TensorRT made of a network: its kernels, read from the text that the builder logs at DETAILED verbosity.

The engine inspector gives the same text, but only where the engine can be loaded: on the GPU it is for.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

_ENTRY = re.compile(r"^Name: (?P<name>.*?), LayerType: (?P<kind>[^,]*),(?P<rest>.*)$")
_OUTPUT = re.compile(r"Dimensions: \[(?P<shape>[^\]]*)\].*?Datatype: (?P<dtype>\w+)")
_NODE = re.compile(r"\[ONNX Layer: ([^\]]*)\]")
_NO_WORK = {"signal", "wait", "shape_call"}  # entries that launch no kernel


@dataclass(frozen=True, slots=True)
class Layer:
    """One entry of a compiled engine."""

    name: str
    kind: str
    outputs: tuple[str, ...]  # as "Float [1,19,160,288]"
    nodes: tuple[str, ...]  # names of the ONNX nodes it computes


def read_layers(messages: Iterable[str]) -> tuple[Layer, ...]:
    """The layers from a builder's log; empty where it lists none."""
    return tuple(
        _layer(entry) for text in messages for line in text.splitlines() if (entry := _ENTRY.match(line.strip()))
    )


def _layer(entry: re.Match[str]) -> Layer:
    rest = entry["rest"]
    outputs = rest.partition("Outputs: [")[2].partition("TacticName:")[0]
    return Layer(
        name=entry["name"],
        kind=entry["kind"],
        outputs=tuple(f"{found['dtype']} [{found['shape']}]" for found in _OUTPUT.finditer(outputs)),
        nodes=tuple(_NODE.findall(rest)),
    )


def summarise(layers: Iterable[Layer]) -> Mapping[str, Any]:
    """Counts for a passport: kernels, by kind and by type of what they write, and those that sort (TopK)."""
    kernels = [layer for layer in layers if layer.kind not in _NO_WORK]
    types = Counter(layer.outputs[0].partition(" ")[0] for layer in kernels if layer.outputs)
    return {
        "kernels": len(kernels),
        "by_kind": dict(Counter(layer.kind for layer in kernels)),
        "by_output_type": dict(types),
        "topk": sum("topk" in layer.name.lower() for layer in kernels),
    }
