"""Instance maps on disk, brought to one numbering: which pixels belong to which countable object.

    kitti               training/instance/NAME.png, 16 bits: labelId * 256 + n, where n = 0 is no single object
    cityscapes, synth   gtFine/.../NAME_gtFine_instanceIds.png: labelId * 1000 + n; less than 1000 is no single object

CamVid has none. Rendered streets know theirs.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from perception.classes import CITYSCAPES
from perception.errors import ConfigError, SourceError
from perception.types import VOID
from training.data.borders import THINGS
from training.data.datasets import Pair
from training.data.taxonomy import LABEL_ID_LIMIT, train_ids_from_label_ids

Instances = npt.NDArray[np.int32]  # (H, W) 0 = no object, else train id * PER_CLASS + n with n >= 1

PER_CLASS = 1000
KINDS_WITH_INSTANCES = ("kitti", "cityscapes", "synth")
_KITTI_PER_LABEL = 256
_LARGEST = PER_CLASS - 1


def has_instances(pair: Pair) -> bool:
    """Whether the pair's data set tells objects apart, and its instance map is there."""
    if pair.kind not in KINDS_WITH_INSTANCES:
        return False
    return pair.frame is not None or instance_path(pair).exists()


def tells_apart(pairs: Sequence[Pair]) -> bool:
    """Whether a data set is of a kind that tells objects apart, and has an instance map somewhere."""
    return any(has_instances(pair) for pair in pairs)


def instance_path(pair: Pair) -> Path:
    """Where the pair's instance map lies, in the layout of its kind.

    Raises:
        ConfigError: its kind has no instance maps.
    """
    if pair.kind == "kitti":
        return pair.labels.parent.parent / "instance" / pair.labels.name
    if pair.kind in KINDS_WITH_INSTANCES:
        return pair.labels.with_name(pair.labels.name.replace("_labelIds", "_instanceIds"))
    raise ConfigError(
        f"Data of the kind {pair.kind!r} does not tell objects apart; {', '.join(KINDS_WITH_INSTANCES)} do."
    )


def require_instances(name: str, pairs: Sequence[Pair]) -> None:
    """Raise ConfigError unless every pair of the data set ``name`` has an instance map."""
    missing = [pair for pair in pairs if pair.frame is None and not instance_path(pair).exists()]
    if missing:
        raise ConfigError(
            f"Data set {name!r}: {len(missing)} of {len(pairs)} images have no instance map; the first missing file "
            f"is {instance_path(missing[0])}. Unpack the instances too, or leave the data set out."
        )


def read_instances(pair: Pair) -> Instances:
    """The instance map (H, W) i32 of a pair: 0 = no object, else train id * 1000 + n with n >= 1.

    Every countable object of the classes 11..18 has a number; crowds and objects of other classes have none.

    Raises:
        ConfigError: the pair's kind has no instance maps.
        SourceError: the file is missing, unreadable or of another size than the labels, or an id is unknown.
    """
    if pair.frame is not None:
        return _from_ids(pair.frame.draw().instances, PER_CLASS, str(pair.image))
    path = instance_path(pair)
    if not path.is_file():
        raise SourceError(f"There is no instance map {path} for {pair.image}. Unpack the instances too.")
    raw = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if raw is None:
        raise SourceError(f"Cannot read {path} as an image.")
    labels = cv2.imread(str(pair.labels), cv2.IMREAD_UNCHANGED)
    if labels is None:
        raise SourceError(f"Cannot read {pair.labels} as an image.")
    if raw.ndim != 2 or raw.shape != labels.shape:
        raise SourceError(
            f"The instance map {path} is {_size(raw)}, the labels beside it are {_size(labels)}; they must agree, "
            "and an instance map has one channel."
        )
    return _from_ids(np.asarray(raw), _KITTI_PER_LABEL if pair.kind == "kitti" else PER_CLASS, str(path))


def _from_ids(raw: npt.NDArray[Any], per_label: int, name: str) -> Instances:
    """Ids ``label_id * per_label + n`` to ours. KITTI keeps n = 0 for no object, Cityscapes counts from it."""
    cityscapes = per_label == PER_CLASS
    if raw.max(initial=0) > np.iinfo(np.uint16).max or raw.min(initial=0) < 0:
        raise SourceError(f"The instance map {name} holds ids outside 0..65535.")
    ids = np.flatnonzero(np.bincount(raw.ravel()))
    table = np.zeros(int(ids[-1]) + 1, np.int32)
    to_train = train_ids_from_label_ids()
    for one in ids.tolist():
        alone = cityscapes and one < PER_CLASS
        label, number = (one, 0) if alone else (one // per_label, one % per_label + cityscapes)
        if label >= LABEL_ID_LIMIT or number > _LARGEST:
            raise SourceError(
                f"The instance map {name} holds the id {one}; ids are label id * {per_label} + number, with label ids "
                f"up to {LABEL_ID_LIMIT - 1} and at most {_LARGEST} objects. Is it of another data set?"
            )
        if number and to_train[label] in CITYSCAPES.thing_ids():
            table[one] = int(to_train[label]) * PER_CLASS + number
    return np.asarray(table[raw], np.int32)


def _size(array: npt.NDArray[Any]) -> str:
    channels = f" of {array.shape[2]} channels" if array.ndim == 3 else ""
    return f"{array.shape[1]}x{array.shape[0]}{channels}"


def uncounted(labels: npt.NDArray[np.uint8], instances: Instances) -> npt.NDArray[np.bool_]:
    """(H, W) where objects may be that the truth does not tell apart: void, and things without a number (crowds)."""
    return np.asarray(((labels == VOID) | np.isin(labels, THINGS)) & (instances == 0), np.bool_)
