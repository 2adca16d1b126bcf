"""Maps for ``grouping.py``: what a head says of real frames, a street as a perfect one would see it, what none should
give, and noise by seed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from perception.geometry import fit_size
from perception.stages.prepare import prepare
from perception.synth import Street

# "labels_in", "confidence_in" u8 (N, h, w); "centres" f32 (N, 1, H, W) logits, "offsets" f32 (N, 2, H, W) cells.
Maps = dict[str, npt.NDArray[Any]]
PERSON, CAR = 11, 13


def extremes(cells: tuple[int, int]) -> Iterator[tuple[str, Maps]]:
    """A street as a perfect head would see it, and what no head should give."""
    height, width = cells
    frame = Street(7, (4 * width, 4 * height)).render(30)
    truth = frame.instances[::2, ::2]
    yield "street", perfect(frame.labels[::2, ::2], np.where(truth >= 1000, truth, 0))
    nothing = np.zeros((2 * height, 2 * width), np.int64)
    yield "no objects", perfect(nothing.astype(np.uint8), nothing)
    whole = nothing + 1
    yield "one over the whole frame", perfect((whole * CAR).astype(np.uint8), whole)
    yield "2,000 tiny ones", dotted(cells, 2000)
    yield "as many specks as there is room for", dotted(cells, height * width)
    everywhere = perfect((whole * CAR).astype(np.uint8), whole)
    everywhere["centres"][:] = 5.0
    yield "a centre everywhere", everywhere


def dotted(cells: tuple[int, int], count: int) -> Maps:
    """So many persons on a grid, of one pixel at least, as far as the map holds them with a gap in between."""
    height, width = 2 * cells[0], 2 * cells[1]
    step = max(2, int((height * width / count) ** 0.5))
    ids = np.zeros((height, width), np.int64)
    side = max(1, step // 2)
    ys, xs = np.mgrid[0 : height - side + 1 : step, 0 : width - side + 1 : step]
    for number, (y, x) in enumerate(list(zip(ys.ravel(), xs.ravel()))[:count], start=1):
        ids[y : y + side, x : x + side] = number
    return perfect(np.where(ids > 0, PERSON, 0).astype(np.uint8), ids)


def perfect(labels: npt.NDArray[np.uint8], truth: npt.NDArray[Any]) -> Maps:
    """A batch of one: heat map and offsets that lead every cell of an object to its own centre."""
    cells = truth[::2, ::2]
    values, flat, counts = np.unique(cells, return_inverse=True, return_counts=True)
    index, grid = flat.reshape(cells.shape), np.indices(cells.shape, np.float32)
    middle = np.stack([np.bincount(index.ravel(), weights=axis.ravel()) / counts for axis in grid])
    heat = np.full(cells.shape, -6, np.float32)
    heat[tuple(np.rint(middle[:, values > 0]).astype(int))] = 4
    offsets = np.where(cells > 0, middle[:, index] - grid, 0).astype(np.float32)
    sure = np.full((1, *labels.shape), 230, np.uint8)
    return {"labels_in": labels[None], "confidence_in": sure, "centres": heat[None, None], "offsets": offsets[None]}


def random_maps(seed: int, shape: tuple[int, int, int]) -> Maps:
    """Maps as unlike a network's as they come: noise, ties, offsets that lead out of the map."""
    random = np.random.default_rng(seed)
    frames, height, width = shape
    blocks = random.choice([0, 10, 11, 13, 14, 18], (frames, height // 4, width // 4))
    labels = blocks.repeat(8, 1).repeat(8, 2).astype(np.uint8)
    noise = random.random(labels.shape) < random.choice([0.01, 0.1, 0.5])
    labels[noise] = random.integers(0, 19, noise.sum())
    heat = random.normal(random.choice([-6, -3, 0]), 2, (frames, 1, height, width))
    if seed % 3 == 1:  # ties
        heat = np.rint(heat * 4) / 4
    spread = random.choice([0.5, 3.0, 30.0, 3000.0])
    offsets = random.normal(0, spread, (frames, 2, height, width))
    if seed % 3 == 2:  # halves are rounded to even
        offsets = np.rint(offsets * 2) / 2
    sure = random.integers(0, 256, labels.shape, np.uint8)
    heads = {"centres": heat.astype(np.float32), "offsets": offsets.astype(np.float32)}
    return {"labels_in": labels, "confidence_in": sure, **heads}


def real_maps(model: Path, text: str, pixels: int) -> Iterator[Maps]:
    """What a Keras model with a head for centres says of every image of a data set; labels at half its size."""
    from training.cli.quiet import load_keras

    load_keras()
    from training.data.datasets import open_dataset, read_image
    from training.models.saved import load_model

    network = load_model(model)
    for pair in open_dataset(text, labelled=False):
        image = read_image(pair)
        frame = prepare(image, fit_size((image.shape[1], image.shape[0]), pixels))
        answers = dict(zip(network.output_names, network.predict_on_batch(frame[None])))
        heads = {name: answers[name].astype(np.float32).transpose(0, 3, 1, 2) for name in ("centres", "offsets")}
        size = frame.shape[1] // 2, frame.shape[0] // 2
        logits = cv2.resize(answers["logits"][0].astype(np.float32), size, interpolation=cv2.INTER_LINEAR)
        sure = 255 / np.exp(logits - logits.max(axis=-1, keepdims=True)).sum(axis=-1)
        labels = logits.argmax(axis=-1).astype(np.uint8)
        yield {"labels_in": labels[None], "confidence_in": np.rint(sure).astype(np.uint8)[None], **heads}
