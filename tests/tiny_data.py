"""Writes tiny labelled data sets in the folder layouts that ``training.data.datasets`` reads.

A frame is columns of two classes whose colours tell them apart, so that a network can learn it in a few steps.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.uint8]


def frame_and_values(index: int, size: tuple[int, int], low: int, high: int) -> tuple[Array, Array]:
    """(image, values): value ``low`` is dark and left of a border that moves with ``index``, ``high`` bright."""
    width, height = size
    values = np.full((height, width), low, np.uint8)
    values[:, width // 3 + 5 * index :] = high
    image = np.where(values[..., None] == low, np.uint8([40, 60, 30]), np.uint8([200, 180, 220]))
    texture = np.random.default_rng(index).integers(0, 12, image.shape, np.uint8)
    return (image + texture).astype(np.uint8), values


def write_png(path: Path, array: npt.NDArray[np.generic]) -> None:
    """Write an image file and the folders it lies in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.asarray(array))


def write_camvid(root: Path, *, count: int = 3, size: tuple[int, int] = (96, 64)) -> Path:
    """``count`` train frames and one of val, of CamVid values (3 road, 8 car); train frame 0 is of the proxy drive."""
    for index in range(count + 1):
        image, values = frame_and_values(index, size, 3, 8)
        part = "val" if index == count else "train"
        name = f"{'0001TP' if index == 0 else '0016E5'}_{index:05d}.png"
        write_png(root / part / name, image)
        write_png(root / f"{part}annot" / name, values)
    return root


def write_kitti(root: Path, *, count: int = 6, size: tuple[int, int] = (96, 64)) -> Path:
    """``count`` frames of Cityscapes label ids (7 road, 26 car)."""
    for index in range(count):
        image, values = frame_and_values(index, size, 7, 26)
        write_png(root / "training" / "image_2" / f"{index:06d}_10.png", image)
        write_png(root / "training" / "semantic" / f"{index:06d}_10.png", values)
    return root


def write_touching_cars(root: Path, *, count: int = 6) -> Path:
    """KITTI's layout with instance maps: two cars that touch in every frame of 128x64."""
    size = (128, 64)
    write_kitti(root, count=count, size=size)
    raw = np.full(size[::-1], 7 * 256, np.uint16)  # label id * 256 + number
    raw[16:48, 20:60], raw[16:48, 60:100] = 26 * 256 + 1, 26 * 256 + 2
    for index in range(count):
        write_png(root / "training" / "instance" / f"{index:06d}_10.png", raw)
        write_png(root / "training" / "semantic" / f"{index:06d}_10.png", (raw // 256).astype(np.uint8))
    return root


def write_cityscapes(root: Path, *, split: str = "train", size: tuple[int, int] = (96, 64)) -> Path:
    """One frame in each of two cities."""
    for index, city in enumerate(("aachen", "zurich")):
        image, values = frame_and_values(index, size, 7, 26)
        stem = f"{city}_000000_000019"
        write_png(root / "leftImg8bit" / split / city / f"{stem}_leftImg8bit.png", image)
        write_png(root / "gtFine" / split / city / f"{stem}_gtFine_labelIds.png", values)
    return root
