"""What a run shows of itself after each checkpoint: curves, predictions, and the report that holds both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import keras

from training.data.datasets import Pair
from training.evaluate import SCORE_PIXELS, keras_predictor
from training.object_plots import plot_objects
from training.objects import has_head, keras_finder
from training.plots import plot_curves, plot_predictions
from training.report import read_metrics, write_report


@dataclass(frozen=True, slots=True)
class Album:
    """The pictures in a run's folder; ``pairs``, of one data set, are those that predictions are shown on."""

    folder: Path
    pairs: Sequence[Pair]

    def draw(self, model: keras.Model) -> None:
        """Draw all of it anew. Raises OutputError."""
        objects = has_head(model)
        score = ("AP50", "average precision at IoU 0.5") if objects else ("mIoU", "mean IoU")
        plot_curves(read_metrics(self.folder), self.folder / "curves.png", score=score[0], unit=score[1])
        if self.pairs:
            pixels, sheet = SCORE_PIXELS[self.pairs[0].kind], self.folder / "predictions.png"
            if objects:
                plot_objects(keras_finder(model, pixels), self.pairs, sheet)
            else:
                plot_predictions(keras_predictor(model, pixels), self.pairs, sheet)
        write_report(self.folder)
