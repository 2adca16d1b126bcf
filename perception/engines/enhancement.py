"""Enhancements: networks that give a better picture, put before any of our models as part of one graph.

An enhancement is an ONNX file that takes ``frame``, u8 [N, H, W, 3], and gives ``image``, u8 [N, f H, f W, 3], and
``enhanced``, the same numbers as f32: a network behind it reads those, for TensorRT lets no u8 pass inside a graph. The
joined graph computes in one run what two files would in two.
"""

from __future__ import annotations

import hashlib
import os
import re
from contextlib import suppress
from dataclasses import dataclass
from math import gcd, lcm
from pathlib import Path

from perception.cache import abandoned, cache_folder, last_used
from perception.engines.contract import read_spec
from perception.engines.joining import ENHANCED, GRAPH, IMAGE, METADATA, OPSET, join_graphs
from perception.engines.onnx_file import read_header
from perception.engines.protobuf import field, integer, messages, raw_fields, text
from perception.engines.shipped import ENHANCEMENTS, MODELS
from perception.errors import ModelError
from perception.files import write_whole

_FORMAT = 1  # of what is in the cache
_KEPT = 8  # joined files, those that were used last
_OLDEST_OPSET = 13  # from which on the operators of an enhancement mean the same


@dataclass(frozen=True, slots=True)
class Enhancement:
    """An enhancement's file and what its card says."""

    path: Path
    name: str
    sha256: str
    factor: int  # by which the picture is larger than the frame
    multiple: int  # of the sides of the frames that it takes


def read_enhancement(given: str) -> Enhancement:
    """One of ``ENHANCEMENTS``, which come with the package, or the path of an ONNX file.

    Raises:
        ModelError: there is no such file, or it is no enhancement.
    """
    path = MODELS / f"{given}.onnx" if given in ENHANCEMENTS else Path(given)
    if not path.is_file() and path.suffix != ".onnx":
        raise ModelError(
            f"There is no enhancement {given!r}. Choose one of {', '.join(ENHANCEMENTS)}, or give an ONNX file."
        )
    header = read_header(path)
    outputs = {tensor.name: tensor.dtype for tensor in header.outputs}
    if outputs.get(IMAGE) != "uint8" or outputs.get(ENHANCED) != "float32":
        found = ", ".join(repr(name) for name in outputs) or "none"
        raise ModelError(
            f"The model {path.name!r} is no enhancement: it gives no 'image' for a network behind it (outputs found: "
            f"{found}). `roadcast-train restore` makes one; a model that gives labels belongs to --model."
        )
    card = header.metadata
    numbers = [card.get(f"roadcast.{key}", "") for key in ("factor", "multiple")]
    if not all(re.fullmatch("[1-9][0-9]{0,3}", number) for number in numbers):
        raise ModelError(
            f"The enhancement {path.name!r} does not say by what it enlarges and what frames it takes "
            "('roadcast.factor' and 'roadcast.multiple' in its metadata). Export it again."
        )
    factor, multiple = map(int, numbers)
    return Enhancement(path, card.get("roadcast.enhancement", path.stem), header.sha256, factor, multiple)


def enhanced_model(model: Path, given: str) -> Path:
    """The file of ``model`` with an enhancement before it: from the cache, or joined and kept there.

    The cache keeps the ``_KEPT`` files that were used last.

    Raises:
        ModelError: one of the two is missing or damaged, or they cannot be joined.
        ConfigError: there is no folder for the cache.
        OutputError: the file cannot be written.
    """
    enhancement = read_enhancement(given)
    spec = read_spec(model)
    key = hashlib.sha256(f"{_FORMAT} {enhancement.sha256} {spec.sha256}".encode()).hexdigest()[:16]
    folder = cache_folder("enhanced")
    path = folder / f"{model.stem}+{enhancement.name}-{key}.onnx"
    if not path.is_file():
        write_whole(path, join(enhancement, model))
        _forget(folder)
    with suppress(OSError):  # a cache of somebody else's may be read all the same
        os.utime(path)
    return path


def _forget(folder: Path) -> None:
    """Remove joined files that were not used for long; each can be made again. What cannot be removed stays."""
    joined = sorted(folder.glob("*.onnx"), key=last_used, reverse=True)
    for path in [*joined[_KEPT:], *abandoned(folder)]:
        with suppress(OSError):
            path.unlink()


def join(enhancement: Enhancement, model: Path) -> bytes:
    """The ONNX file of ``model`` behind ``enhancement``: its outputs and ``image``; its card with another id.

    The network sees pictures of the size that it sees without: of an enhancement that enlarges by two, the card asks
    for frames of a quarter of the pixels.

    Raises:
        ModelError: the model gives an ``image`` already, is too old, takes frames of one size that the enhancement
            does not give, or cannot be joined; or a file is damaged.
    """
    spec, factor = read_spec(model), enhancement.factor
    if IMAGE in spec.outputs:
        raise ModelError(f"The model {model.name!r} gives an enhanced image already: leave out the enhancement.")
    network, before = model.read_bytes(), enhancement.path.read_bytes()
    step = enhancement.multiple * factor
    if spec.fixed_size is not None and any(side % step for side in spec.fixed_size):
        size = "x".join(map(str, spec.fixed_size))
        raise ModelError(
            f"The model {model.name!r} takes frames of {size}; behind {enhancement.name!r} both sides must be "
            f"multiples of {step}. Export it with another --size."
        )
    try:
        opset = max(
            (integer(entry, 2) for entry in messages(network, OPSET) if text(entry, 1) in ("", "ai.onnx")), default=0
        )
        if opset < _OLDEST_OPSET:
            raise ModelError(f"The model {model.name!r} is of opset {opset}; {_OLDEST_OPSET} or newer can be joined.")
        graphs = messages(before, GRAPH)[-1], messages(network, GRAPH)[-1]
        graph = join_graphs(*graphs, model=model.name, factor=factor)
    except (ValueError, IndexError) as error:
        raise ModelError(
            f"{str(enhancement.path)!r} and {str(model)!r} cannot be joined, one is damaged: {error}."
        ) from error
    card = {
        **spec.card,
        "roadcast.id": f"{spec.id}+{enhancement.name}",
        "roadcast.pixels": str(max(1, spec.pixels // factor**2)),
        "roadcast.multiple": str(lcm(spec.multiple // gcd(spec.multiple, factor), enhancement.multiple)),
        "roadcast.enhancement": enhancement.name,
    }
    rest = (bytes(raw) for number, _, raw in raw_fields(network) if number not in (GRAPH, METADATA))
    metadata = (field(METADATA, field(1, key) + field(2, value)) for key, value in card.items())
    return b"".join([*rest, field(GRAPH, graph), *metadata])
