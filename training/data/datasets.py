"""Data sets on disk: pairs of image and label files in their native folder layouts.

A data set is named ``kind:folder[:split]``: ``camvid:/data/camvid:train``. The CamVid layout is
SegNet's (``train/``, ``trainannot/`` ...), the KITTI one that of the 2015 semantic benchmark
(``training/image_2``, ``training/semantic``), ``cityscapes`` that of Cityscapes itself
(``leftImg8bit/<split>/<city>``, ``gtFine/...``), which ``roadcast-train synth`` writes too. ``synth:SEED,N``
has no folder: its frames are rendered where they are read.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from perception.errors import ConfigError, SourceError
from perception.types import VOID, Image, LabelMap
from training.data.rendered import StreetFrame, frames_of
from training.data.taxonomy import CAMVID_SETS, LABEL_ID_LIMIT, set_values_from_camvid, train_ids_from_label_ids

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
# Drive 0001TP is a place of its own; the other train frames share their drive with val.
CAMVID_PROXY_DRIVE = "0001TP"
KITTI_HELD_OUT_EVERY = 5


@dataclass(frozen=True, slots=True)
class Pair:
    """One labelled image and how to read it."""

    image: Path
    labels: Path
    kind: str  # "camvid", "kitti", "cityscapes", "synth"
    frame: StreetFrame | None = None  # rendered instead of read; the paths are then only names

    @property
    def labelled(self) -> bool:
        """Whether there are labels; without, only :func:`read_image` works."""
        return self.frame is not None or self.labels.exists()


def open_dataset(text: str, *, labelled: bool = True) -> list[Pair]:
    """All pairs of a data set given as ``kind:folder[:split]``, in the order of their names.

    Without ``labelled``, label files may be missing, as those of a test split are.

    Splits: camvid ``train val fit proxy`` (fit + proxy = train; proxy is drive 0001TP), kitti
    ``train fit proxy`` (proxy is every fifth frame), cityscapes and synth: the folder names under
    leftImg8bit.

    Raises:
        ConfigError: unknown kind or split, a missing folder, or an image without its labels.
    """
    kind, _, rest = text.partition(":")
    folder, _, split = rest.partition(":")
    finders: dict[str, Callable[[Path, str], list[Pair]]] = {
        "camvid": _camvid,
        "kitti": _kitti,
        "cityscapes": partial(_cityscapes, kind="cityscapes"),
        "synth": _synth,
    }
    if kind not in finders or not folder:
        raise ConfigError(f"Data set {text!r} is not of the form kind:folder[:split]; kinds are {', '.join(finders)}.")
    pairs = finders[kind](Path(folder), split or "train")
    if not pairs:
        raise ConfigError(f"Data set {text!r} holds no images.")
    missing = [pair.labels for pair in pairs if labelled and not pair.labelled]
    if missing:
        raise ConfigError(
            f"Data set {text!r}: {len(missing)} of {len(pairs)} images have no labels; the first missing file is "
            f"{missing[0]}. Is half of the data set still to be unpacked? Add the labels or take the images out."
        )
    return pairs


def read_pair(pair: Pair) -> tuple[Image, LabelMap]:
    """The image, (H, W, 3) u8 BGR, and its training label values, (H, W) u8 (see taxonomy).

    Raises:
        SourceError: a file cannot be read, the sizes differ, or a label value is unknown.
    """
    if pair.frame is not None:
        return pair.frame.render()
    image = read_image(pair)
    raw = cv2.imread(str(pair.labels), cv2.IMREAD_UNCHANGED)
    if raw is None:
        raise SourceError(f"Cannot read {pair.labels} as an image.")
    if raw.ndim != 2 or raw.shape != image.shape[:2]:
        raise SourceError(
            f"Labels {pair.labels} are {_size(raw)}, their image is {_size(image[..., 0])}; they must agree, "
            "and labels have one channel."
        )
    return image, _convert(raw, pair)


def _size(array: npt.NDArray[Any]) -> str:
    channels = f" of {array.shape[2]} channels" if array.ndim == 3 else ""
    return f"{array.shape[1]}x{array.shape[0]}{channels}"


def read_image(pair: Pair) -> Image:
    """The image alone, (H, W, 3) u8 BGR. Raises SourceError."""
    if pair.frame is not None:
        return pair.frame.render()[0]
    image = cv2.imread(str(pair.image), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    if image is None:
        raise SourceError(f"Cannot read {pair.image} as an image.")
    return np.asarray(image, np.uint8)


def _convert(raw: npt.NDArray[Any], pair: Pair) -> LabelMap:
    limit = len(CAMVID_SETS) + 1 if pair.kind == "camvid" else LABEL_ID_LIMIT
    unknown = np.asarray(raw)[(raw >= limit) & (raw != VOID)]
    if unknown.size:
        kind = "the class numbers" if pair.kind == "camvid" else "Cityscapes label ids"
        raise SourceError(
            f"Labels {pair.labels} hold the value {unknown[0]}; {pair.kind} labels end at {limit - 1}. "
            f"They must be {kind}, not colours or instances."
        )
    table = set_values_from_camvid() if pair.kind == "camvid" else train_ids_from_label_ids()
    return table[np.asarray(raw, np.uint8)]


def _images(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise ConfigError(f"There is no folder {folder}. Folder layouts are described in docs/data.md.")
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES)


def _camvid(root: Path, split: str) -> list[Pair]:
    _check_split("camvid", split, ("train", "val", "fit", "proxy"))
    part = "val" if split == "val" else "train"
    pairs = [Pair(p, root / f"{part}annot" / f"{p.stem}.png", "camvid") for p in _images(root / part)]
    if split in ("fit", "proxy"):
        pairs = [p for p in pairs if p.image.name.startswith(CAMVID_PROXY_DRIVE) == (split == "proxy")]
    return pairs


def _kitti(root: Path, split: str) -> list[Pair]:
    _check_split("kitti", split, ("train", "fit", "proxy"))
    base = root / "training" if (root / "training").is_dir() else root
    pairs = [Pair(p, base / "semantic" / f"{p.stem}.png", "kitti") for p in _images(base / "image_2")]
    if split in ("fit", "proxy"):
        pairs = [p for i, p in enumerate(pairs) if (i % KITTI_HELD_OUT_EVERY == 0) == (split == "proxy")]
    return pairs


def _cityscapes(root: Path, split: str, *, kind: str) -> list[Pair]:
    cities = root / "leftImg8bit" / split
    if not cities.is_dir():
        splits = sorted(p.name for p in cities.parent.iterdir() if p.is_dir()) if cities.parent.is_dir() else []
        hint = f"Splits are {', '.join(splits)}." if splits else "Give the folder that holds leftImg8bit and gtFine."
        raise ConfigError(f"There is no folder {cities}. {hint}")
    pairs = []
    for city in sorted(p for p in cities.iterdir() if p.is_dir()):
        for image in _images(city):
            stem = image.stem.removesuffix("_leftImg8bit")
            labels = root / "gtFine" / split / city.name / f"{stem}_gtFine_labelIds.png"
            pairs.append(Pair(image, labels, kind))
    return pairs


def _synth(root: Path, split: str) -> list[Pair]:
    frames = frames_of(root.name) if root.parent == Path() else None
    if frames is None:
        return _cityscapes(root, split, kind="synth")  # the same layout, another size of things
    _check_split("synth:SEED,N", split, ("train",))
    return [Pair(frame.path, frame.path, "synth", frame) for frame in frames]


def _check_split(kind: str, split: str, known: tuple[str, ...]) -> None:
    if split not in known:
        raise ConfigError(f"{kind} has no split {split!r}; it has {', '.join(known)}.")
