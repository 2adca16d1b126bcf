"""Predictions as files that the Cityscapes evaluation and its server take: PNGs of label ids at full size."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import cv2

from perception.errors import ConfigError, OutputError
from perception.files import write_whole
from perception.synth.palette import label_id_table
from perception.types import LabelMap
from training.data.datasets import Pair


@dataclass(frozen=True, slots=True)
class PredictionWriter:
    """Writes ``<city>_<sequence>_<frame>_pred_labelIds.png``, all in one folder.

    The evaluation looks for one file for each frame, by the part of its name before ``_leftImg8bit``.
    """

    folder: Path
    _written: dict[str, Path] = field(default_factory=dict)

    def write(self, pair: Pair, labels: LabelMap) -> None:
        """Write one frame's train ids, (H, W) u8.

        Raises:
            ConfigError: another frame of this name was written before.
            OutputError: the file cannot be written.
        """
        name = f"{pair.image.stem.removesuffix('_leftImg8bit')}_pred_labelIds.png"
        if self._written.setdefault(name, pair.image) != pair.image:
            raise ConfigError(
                f"{pair.image} and {self._written[name]} would both be written as {name}: "
                "give data sets that share names a --predictions folder each."
            )
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"Cannot make the folder {self.folder}: {error.strerror}.") from None
        _, data = cv2.imencode(".png", label_id_table()[labels])
        write_whole(self.folder / name, data.tobytes())
