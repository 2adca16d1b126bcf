"""Pictures of a run: curves of its metrics, and frames beside their labels and what the model makes of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from perception.classes import CITYSCAPES
from perception.files import write_whole
from perception.types import VOID, Image, LabelMap
from training.data.datasets import Pair, read_pair
from training.data.taxonomy import membership

DPI = 110
_SHEET_ROWS = 5


def plot_curves(
    lines: Sequence[Mapping[str, Any]],
    path: Path,
    *,
    score: str = "mIoU",
    unit: str = "mean IoU",
    top: float | None = 1,
) -> None:
    """Loss and learning rate over epochs, and every score that was measured, as one PNG. Raises OutputError.

    Scores are what is called ``score`` at its end; their axis goes from 0 to ``top``, or where they lie.
    """
    scores = sorted({key for line in lines for key in line if key.endswith(score)})
    figure = Figure(figsize=(11, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    epochs = [line["epoch"] for line in lines]
    left.plot(epochs, [line["loss"] for line in lines], color="tab:blue", marker="o" if len(lines) < 3 else None)
    left.set(xlabel="epoch", ylabel="loss")
    rates = [(line["epoch"], line["rate"]) for line in lines if "rate" in line]
    if rates:
        rate = left.twinx()
        rate.plot(*zip(*rates), color="tab:gray", linewidth=0.8, linestyle="--")
        rate.set_ylabel("learning rate (dashed)", color="tab:gray")
        rate.set_ylim(bottom=0)
    for key in scores:
        measured = [(line["epoch"], line[key]) for line in lines if key in line]
        right.plot(*zip(*measured), marker="o", markersize=3, label=f"{key}, last {measured[-1][1]:.3f}")
    right.set(xlabel="epoch", ylabel=unit, xlim=left.get_xlim())
    if top is not None:
        right.set_ylim(0, top)
    if scores:
        right.legend(loc="best" if top is None else "lower right", frameon=False)
    else:
        right.text(0.5, 0.5, "nothing was scored: give --score", ha="center", transform=right.transAxes)
    for axes in (left, right):
        axes.grid(alpha=0.25)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.spines["top"].set_visible(False)
    save_figure(figure, path)


def plot_predictions(predict: Callable[[Image], LabelMap], pairs: Sequence[Pair], path: Path) -> None:
    """Up to five frames, evenly spread over ``pairs``, each beside its labels and the prediction, as one PNG.

    Raises:
        SourceError: a frame cannot be read.
        OutputError: the picture cannot be written.
    """
    chosen = [pairs[i] for i in np.unique(np.linspace(0, len(pairs) - 1, min(_SHEET_ROWS, len(pairs))).astype(int))]
    figure = Figure(layout="constrained")
    rows = figure.subplots(len(chosen), 3, squeeze=False)
    seen, heights = set(), 0.0
    for axes, pair in zip(rows, chosen):
        image, values = read_pair(pair)
        truth, labels = _train_ids(values), predict(image)
        heights += 4 * image.shape[0] / image.shape[1]
        seen |= set(np.unique(truth)) | set(np.unique(labels))
        for cell, picture in zip(axes, (image[..., ::-1], _coloured(truth), _coloured(labels))):
            cell.imshow(picture, interpolation="nearest")
            cell.set_axis_off()
        axes[0].set_title(pair.image.name, fontsize=8, loc="left")
    for cell, title in zip(rows[0][1:], ("labels", "prediction")):
        cell.set_title(title, fontsize=9)
    shown = [row for row in CITYSCAPES.rows if row.id in seen]
    handles = [Patch(color="#{:02x}{:02x}{:02x}".format(*row.color), label=row.name) for row in shown]
    figure.legend(handles=handles, loc="outside lower center", ncols=8, fontsize=8, frameon=False)
    figure.set_size_inches(12, heights + 1.2)
    save_figure(figure, path)


def _train_ids(values: LabelMap) -> LabelMap:
    """Training label values to train ids; a coarse label is shown as the first class of its set."""
    sets = membership()
    return np.where(sets.any(axis=1), sets.argmax(axis=1), VOID).astype(np.uint8)[values]


def _coloured(labels: LabelMap) -> Image:
    return np.ascontiguousarray(CITYSCAPES.palette_bgr()[labels][..., ::-1])


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as PNG. Raises OutputError."""
    content = BytesIO()
    FigureCanvasAgg(figure).print_figure(content, format="png", dpi=DPI)
    write_whole(path, content.getvalue())
