"""Frames beside their objects, true and found, and what the head answered: a sheet of a run's album."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from perception.types import Image
from training.data.datasets import Pair
from training.evaluate_objects import enlarge, read_truth
from training.objects import Finder, Found
from training.plots import save_figure

_ROWS = 5
_FARTHEST = 32  # cells, from which on the colour of an offset is full
_TITLES = ("frame", "true objects", "what the head answers", "objects found")


def plot_objects(find: Finder, pairs: Sequence[Pair], path: Path) -> None:
    """Up to five frames, evenly spread over ``pairs``, as one PNG.

    Raises:
        SourceError: a frame or its truth cannot be read.
        OutputError: the picture cannot be written.
    """
    chosen = [pairs[i] for i in np.unique(np.linspace(0, len(pairs) - 1, min(_ROWS, len(pairs))).astype(int))]
    figure = Figure(layout="constrained")
    rows = figure.subplots(2 * len(chosen), 2, squeeze=False)
    height = 0.0
    for number, pair in enumerate(chosen):
        image, truth = read_truth(pair)
        found = find(image)
        shape = truth.labels.shape
        height += 2 * (6 * shape[0] / shape[1] + 0.3)
        pictures = (
            image,
            _tinted(image, truth.instances),
            _answers(image, found),
            _tinted(image, enlarge(found.ids, shape)),
        )
        for cell, picture, title in zip(rows[2 * number : 2 * number + 2].ravel(), pictures, _TITLES):
            cell.imshow(picture[..., ::-1], interpolation="nearest")
            cell.set_axis_off()
            cell.set_title(f"{pair.image.name}: {title}" if title == "frame" else title, fontsize=8, loc="left")
    figure.set_size_inches(12, height)
    save_figure(figure, path)


def _tinted(image: Image, ids: npt.NDArray[np.int32]) -> Image:
    """The frame in grey with every object in a colour of its own, and a line around it."""
    grey = np.asarray(cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR), np.uint8)
    # Steps of the golden angle keep neighbouring numbers apart.
    hue = (np.unique(ids, return_inverse=True)[1].reshape(ids.shape) * 111 % 180).astype(np.uint8)
    colour = cv2.cvtColor(np.dstack([hue, np.full_like(hue, 220), np.full_like(hue, 255)]), cv2.COLOR_HSV2BGR)
    tinted = np.where((ids > 0)[..., None], grey // 3 + colour // 3 * 2, grey)
    values = ids.astype(np.float32)  # exact: ids end below 2^24
    window = np.ones((3, 3), np.uint8)
    tinted[cv2.dilate(values, window) != cv2.erode(values, window)] = 255
    return np.asarray(tinted, np.uint8)


def _answers(image: Image, found: Found) -> Image:
    """Offsets as colours on the objects with the centres' heat in white; or bodies green and borders red."""
    shape = image.shape[:2]
    dark = image // 3
    if "boundary" in found.maps:
        body, border = (_probability(found.maps["boundary"][..., channel], shape) for channel in (0, 1))
        paint = np.stack([np.zeros_like(body), body, border], axis=-1) * 255
        return np.asarray(np.clip(dark + paint * 0.8, 0, 255), np.uint8)
    ways = enlarge(colour_of_ways(found.maps["offsets"]), shape)
    picture = np.where(enlarge(found.ids > 0, shape)[..., None], ways, dark).astype(np.float32)
    heat = _probability(found.maps["centres"][..., 0], shape)[..., None]
    return np.asarray(picture * (1 - heat) + 255 * heat, np.uint8)


def _probability(logits: npt.NDArray[np.float32], shape: tuple[int, int]) -> npt.NDArray[np.float32]:
    """(h, w) logits to probabilities at ``shape``."""
    large = cv2.resize(logits, shape[::-1], interpolation=cv2.INTER_LINEAR)
    return np.asarray(1 / (1 + np.exp(-large)), np.float32)


def colour_of_ways(offsets: npt.NDArray[np.float32]) -> Image:
    """(h, w, 2) offsets as (h, w, 3) u8 BGR: the hue is where to, the saturation how far."""
    angle = np.arctan2(offsets[..., 0], offsets[..., 1])
    hue = np.round((angle + np.pi) / (2 * np.pi) * 179).astype(np.uint8)
    length = np.hypot(offsets[..., 0], offsets[..., 1])
    saturation = np.round(np.clip(length / _FARTHEST, 0, 1) ** 0.5 * 255).astype(np.uint8)
    hsv = np.dstack([hue, saturation, np.full_like(hue, 255)])
    return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR), np.uint8)
