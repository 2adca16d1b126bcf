"""Pictures of a score: the confusion matrix, IoU class by class, and the frames that went worst."""

from __future__ import annotations

import heapq
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from perception.errors import OutputError
from perception.types import LabelMap
from training.data.datasets import Pair
from training.evaluate import Predictor, Score
from training.metrics import Confusion, dice_per_class, iou_per_class, mean_iou
from training.plots import plot_predictions, save_figure

WORST = 5


class WorstFrames:
    """Remembers the frames with the lowest mean IoU; an observer of ``evaluate``."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Pair]] = []
        self._seen = 0

    def __call__(self, pair: Pair, _labels: LabelMap, confusion: Confusion) -> None:
        self._seen += 1
        score = mean_iou(confusion)
        if np.isfinite(score):
            heapq.heappush(self._heap, (-score, -self._seen, pair))
        if len(self._heap) > WORST:
            heapq.heappop(self._heap)

    @property
    def pairs(self) -> list[Pair]:
        """The worst first; of equals, the earlier."""
        return [pair for _, _, pair in sorted(self._heap, reverse=True, key=lambda entry: entry[:2])]


def plot_score(score: Score, worst: WorstFrames, predict: Predictor, folder: Path) -> None:
    """Write ``confusion.png``, ``iou.png`` and ``worst.png`` into ``folder``, which is made.

    Raises:
        OutputError: the folder or a file cannot be written.
        SourceError: a frame cannot be read again.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"Cannot make the folder {folder}: {error.strerror}.") from None
    plot_confusion(score, folder / "confusion.png")
    plot_classes(score, folder / "iou.png")
    if worst.pairs:
        plot_predictions(predict, worst.pairs, folder / "worst.png")


def plot_confusion(score: Score, path: Path) -> None:
    """Each row is a class of the truth: where its pixels went, in percent. Raises OutputError."""
    confusion = score.confusion.astype(np.float64)
    of_class = confusion.sum(axis=1, keepdims=True)
    percent = np.divide(100 * confusion, of_class, out=np.zeros_like(confusion), where=of_class > 0)
    predicted = [*score.names, "void"] if confusion[:, -1].any() else list(score.names)
    percent, count = percent[:, : len(predicted)], len(score.names)
    figure = Figure(figsize=(2.5 + 0.45 * count, 2 + 0.42 * count), layout="constrained")
    axes = figure.subplots()
    axes.imshow(percent, cmap="Blues", vmin=0, vmax=100)
    for row, column in np.argwhere(percent >= 0.5):
        value = percent[row, column]
        axes.text(column, row, f"{value:.0f}", ha="center", va="center", size=7, color="white" if value > 55 else "k")
    named = [name if total else f"({name})" for name, total in zip(score.names, of_class[:, 0])]
    axes.set_xticks(range(len(predicted)), predicted, rotation=60, ha="right", size=8)
    axes.set_yticks(range(count), named, size=8)
    axes.set(xlabel="predicted", ylabel="truth; in brackets: does not occur")
    axes.set_title(f"{score.images} images, mean IoU {score.mean_iou:.4f}", size=10)
    save_figure(figure, path)


def plot_classes(score: Score, path: Path) -> None:
    """IoU of each class as a bar, Dice as a mark, the best class on top. Raises OutputError."""
    iou, dice = iou_per_class(score.confusion), dice_per_class(score.confusion)
    order = [i for i in np.argsort(iou, kind="stable") if np.isfinite(iou[i])]
    figure = Figure(figsize=(7, 1.5 + 0.3 * len(order)), layout="constrained")
    axes = figure.subplots()
    axes.barh(range(len(order)), iou[order], color="tab:blue", label="IoU")
    axes.plot(dice[order], range(len(order)), "|", color="k", markersize=9, label="Dice")
    for place, label in enumerate(order):
        axes.text(0.01, place, f"{iou[label]:.3f}", va="center", size=8, color="white" if iou[label] > 0.1 else "k")
    axes.axvline(score.mean_iou, color="tab:red", linewidth=1, label=f"mean IoU {score.mean_iou:.3f}")
    axes.set_yticks(range(len(order)), [score.names[i] for i in order], size=8)
    axes.set(xlim=(0, 1), xlabel=f"over {score.images} images")
    axes.legend(loc="lower right", frameon=False, fontsize=8)
    save_figure(figure, path)
