"""What a run shows of itself after each checkpoint: curves, predictions, and the report that holds both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import keras

from training.data.datasets import Pair
from training.evaluate import SCORE_PIXELS, keras_predictor
from training.plots import plot_curves, plot_predictions
from training.report import read_metrics, write_report


@dataclass(frozen=True, slots=True)
class Album:
    """The pictures in a run's folder; ``pairs``, of one data set, are those that predictions are shown on."""

    folder: Path
    pairs: Sequence[Pair]

    def draw(self, model: keras.Model) -> None:
        """Draw all of it anew. Raises OutputError."""
        plot_curves(read_metrics(self.folder), self.folder / "curves.png")
        if self.pairs:
            predict = keras_predictor(model, SCORE_PIXELS[self.pairs[0].kind])
            plot_predictions(predict, self.pairs, self.folder / "predictions.png")
        write_report(self.folder)
