"""The graph contract: which tensors a model must take and give, checked before it runs.

in   frame                u8  [N, H, W, 3]   BGR at network size
out  labels               u8  [N, h, w]      h, w divide H, W alike
out  confidence           u8  [N, h, w]      optional, as all that follow
out  ids, id_scores       i32 [N, h, w], f32 [N, K]    both or neither; as large as labels, which inside an
                                             object are its class; 0 = none, score of id k + 1
out  probabilities        f16 [N, C, h, w]   channel k is the class of id k
out  image                u8  [N, H', W', 3]
out  boxes, scores, class_ids, masks         f32 [N, K, 4], f32 [N, K], i32 [N, K], f32 [N, K, m, m]; all or none;
                                             x0 y0 x1 y1 in pixels of the frame; a score of 0 is no object
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from perception.classes import CITYSCAPES, ClassTable, SemanticClass
from perception.engines.engine import ModelSpec
from perception.engines.onnx_file import OnnxHeader, OnnxTensor, read_header
from perception.engines.shipped import no_such_model
from perception.errors import ConfigError, ModelError, ShapeError
from perception.types import Size

INPUT = "frame"
OUTPUTS: dict[str, tuple[str, int]] = {  # dtype, rank
    "labels": ("uint8", 3),
    "confidence": ("uint8", 3),
    "ids": ("int32", 3),
    "id_scores": ("float32", 2),
    "probabilities": ("float16", 4),
    "image": ("uint8", 4),
    "boxes": ("float32", 3),
    "scores": ("float32", 2),
    "class_ids": ("int32", 2),
    "masks": ("float32", 4),
}
DETECTIONS = ("boxes", "scores", "class_ids", "masks")
_REMEDY = (
    "It must take 'frame', uint8 [N, H, W, 3] in BGR, and give 'labels', uint8 [N, h, w]; "
    "`roadcast-train export` writes such a file, and `roadcast-train wrap` makes one of a foreign model."
)


def read_spec(path: Path) -> ModelSpec:
    """Read the model card of an ONNX file and check its graph against the contract.

    Raises:
        ModelError: the file is missing or unreadable, or breaks the contract.
    """
    if not path.exists():
        raise no_such_model(path)
    header = read_header(path)
    try:
        return _spec(header, path)
    except _Broken as broken:
        raise ModelError(f"The model {path.name!r} breaks the graph contract: {broken}. {_REMEDY}") from None


class _Broken(Exception):
    """One violation of the contract, as half a sentence."""


def _spec(header: OnnxHeader, path: Path) -> ModelSpec:
    batch, size = _input(header)
    outputs = tuple(tensor for tensor in header.outputs if tensor.name in OUTPUTS)
    names = tuple(tensor.name for tensor in outputs)
    if "labels" not in names:
        found = ", ".join(repr(tensor.name) for tensor in header.outputs) or "none"
        raise _Broken(f"it has no output 'labels' (outputs found: {found})")
    for tensor in outputs:  # behind an enhancement maps divide its image, whose size shows when it runs
        _output(tensor, None if "image" in names else size)
    if ("ids" in names) != ("id_scores" in names):
        raise _Broken("it has one of the outputs 'ids' and 'id_scores', which belong together")
    boxed = [name for name in DETECTIONS if name in names]
    if boxed and len(boxed) < len(DETECTIONS):
        raise _Broken(f"of the outputs {', '.join(DETECTIONS)}, which belong together, it has only {', '.join(boxed)}")
    return spec_from_card(
        header.metadata, name=path.stem, sha256=header.sha256, outputs=names, fixed_size=size, batch=batch
    )


def spec_from_card(
    card: Mapping[str, str],
    *,
    name: str,
    sha256: str,
    outputs: tuple[str, ...],
    fixed_size: Size | None,
    batch: int | None,
) -> ModelSpec:
    """A spec from a model card, the metadata of the ONNX file; ``name`` serves where the card has no id."""
    return ModelSpec(
        id=card.get("roadcast.id", name),
        sha256=sha256,
        precision=card.get("roadcast.precision", "fp32"),
        classes=_classes(card.get("roadcast.classes")),
        outputs=outputs,
        fixed_size=fixed_size,
        batch=batch,
        pixels=_positive(card, "roadcast.pixels", 512 * 288),
        multiple=_positive(card, "roadcast.multiple", 32),
        card=card,
    )


def _input(header: OnnxHeader) -> tuple[int | None, Size | None]:
    """The fixed batch and the fixed (w, h) of the input, None where they are free."""
    found = ", ".join(repr(tensor.name) for tensor in header.inputs) or "none"
    frames = [tensor for tensor in header.inputs if tensor.name == INPUT]
    if not frames:
        raise _Broken(f"it has no input 'frame' (inputs found: {found})")
    if len(header.inputs) > 1:
        raise _Broken(f"it takes inputs besides 'frame' (inputs found: {found})")
    shape, dtype = frames[0].shape, frames[0].dtype
    if dtype != "uint8":
        raise _Broken(f"its input 'frame' must be uint8, but is {dtype}")
    if shape is None or len(shape) != 4:
        raise _Broken(f"its input 'frame' must have the four axes [N, H, W, 3], but has {_axes(shape)}")
    batch, height, width, channels = shape
    if channels != 3:
        raise _Broken(f"the last axis of its input 'frame' must be the 3 channels BGR, but is {_axes(shape)}")
    if (height is None) != (width is None):
        raise _Broken(f"height and width of 'frame' must be both fixed or both free, but are {_axes(shape)}")
    return batch, None if height is None or width is None else (width, height)


def _output(tensor: OnnxTensor, size: Size | None) -> None:
    dtype, rank = OUTPUTS[tensor.name]
    if tensor.dtype != dtype:
        raise _Broken(f"its output {tensor.name!r} must be {dtype}, but is {tensor.dtype}")
    if tensor.shape is not None and len(tensor.shape) != rank:
        raise _Broken(f"its output {tensor.name!r} must have {rank} axes, but has {_axes(tensor.shape)}")
    if tensor.name not in ("labels", "confidence") or tensor.shape is None or size is None:
        return
    height, width = tensor.shape[1:]
    if height and width and not divides((height, width), size):
        raise _Broken(f"its {tensor.name!r} of {width}x{height} do not divide its frame of {size[0]}x{size[1]} evenly")


def divides(shape: tuple[int, ...], size: Size) -> bool:
    """Whether a map is the same whole fraction of the input in both directions."""
    (height, width), (full_width, full_height) = shape, size
    return full_height % height == 0 and full_width % width == 0 and full_height // height == full_width // width


def _classes(text: str | None) -> ClassTable:
    if text is None:
        return CITYSCAPES
    try:
        return ClassTable(
            tuple(
                SemanticClass(int(row["id"]), str(row["name"]), tuple(row["color"]), bool(row["is_thing"]))
                for row in json.loads(text)
            )
        )
    except (ValueError, KeyError, TypeError, ConfigError) as error:
        raise _Broken(
            f"its metadata 'roadcast.classes' must be a JSON list of {{id, name, color, is_thing}} ({error})"
        ) from None


def _positive(card: Mapping[str, str], key: str, default: int) -> int:
    text = card.get(key, str(default))
    if not text.isascii() or not text.isdigit() or int(text) == 0:
        raise _Broken(f"its metadata {key!r} must be a whole number above 0, but is {text!r}")
    return int(text)


def _axes(shape: tuple[int | None, ...] | None) -> str:
    return "unknown axes" if shape is None else f"[{', '.join('?' if n is None else str(n) for n in shape)}]"


def check_frames(spec: ModelSpec, frames: npt.NDArray[Any]) -> None:
    """Raise ShapeError unless ``frames`` is a batch that this model takes."""
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[3] != 3:
        raise ShapeError(f"A batch must be uint8 (N, H, W, 3), got {frames.dtype} {frames.shape}.")
    count, height, width, _ = frames.shape
    if count == 0 or (spec.batch is not None and count != spec.batch):
        raise ShapeError(f"The model {spec.id!r} takes batches of {spec.batch or 'at least 1'}, got {count}.")
    if spec.fixed_size is not None and (width, height) != spec.fixed_size:
        wanted = "x".join(map(str, spec.fixed_size))
        raise ShapeError(f"The model {spec.id!r} takes frames of {wanted}, got {width}x{height}.")
    if not height or not width or height % spec.multiple or width % spec.multiple:
        raise ShapeError(
            f"The model {spec.id!r} takes widths and heights in multiples of {spec.multiple}, got {width}x{height}."
        )
